//! What one batch contributes, in its order, as small plain values: kept apart until the batch is known to count, since a
//! repetition of it must not count twice.

use dynowatch_domain::Timestamp;
use dynowatch_domain::metric::SLOT;

/// One thing seen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    Request(Request),
    Value { series: u32, value: f64, at: Timestamp },
}

/// A request, as the router tells of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// The dyno, by its place among the app's sources; 0 for none.
    pub(super) source: u16,
    /// 0 for none.
    pub(super) status: u16,
    /// An H code's number; 0 for none.
    pub(super) code: u16,
    pub(super) service_ms: Option<u32>,
    pub(super) connect_ms: Option<u32>,
    pub(super) bytes: u64,
}

/// Lines of neighbouring moments share ten seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) at: Timestamp,
    pub(super) lines: u64,
    /// Where its [`Seen`]s begin.
    pub(super) first: usize,
}

/// A batch's part of the metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct BatchMetrics {
    pub(super) stretches: Vec<Stretch>,
    pub(super) seen: Vec<Seen>,
    until: Timestamp,
    from: Timestamp,
}

impl BatchMetrics {
    /// Empties it, keeping its room.
    pub(crate) fn clear(&mut self) {
        self.stretches.clear();
        self.seen.clear();
        (self.from, self.until) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    }

    /// Counts a line of that moment.
    #[inline]
    pub(super) fn line(&mut self, at: Timestamp) {
        if at < self.from || at >= self.until {
            self.begin(at);
        }
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.lines += 1;
        }
    }

    #[cold]
    fn begin(&mut self, at: Timestamp) {
        self.from = at.floor(SLOT);
        self.until = self.from + SLOT;
        self.stretches.push(Stretch { at: self.from, lines: 0, first: self.seen.len() });
    }

    /// Each stretch with what was seen in it.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Stretch, &[Seen])> {
        self.stretches.iter().enumerate().map(|(i, stretch)| {
            let end = self.stretches.get(i + 1).map_or(self.seen.len(), |next| next.first);
            (*stretch, self.seen.get(stretch.first..end).unwrap_or_default())
        })
    }
}
