//! The clock of a log: its newest stamp that can be trusted. `serve` distrusts a stamp more than five minutes ahead of its
//! own clock; a file has only its own lines to go by, and may have been silent for hours. So a line further ahead than
//! that is held back until others have spoken:
//!
//! - a line near the clock says that time has not passed: what is held was ahead, and counts as arrived now;
//! - so does one that goes back by more than five minutes behind what is held, which is then in doubt itself;
//! - [`CONFIRMED_BY`] lines in doubt that follow each other agree that time has passed, and the clock moves. At the end of
//!   the log, fewer do.

use dynowatch_domain::Timestamp;
use dynowatch_domain::window::AHEAD_MAX;

/// So many lines in a row move the clock by more than five minutes.
const CONFIRMED_BY: usize = 10;
/// So many bytes of lines do, too: it is what is held at most.
const HELD_BYTES_MAX: usize = 4 << 20;

/// The newest trusted stamp, and the lines that claim to be newer.
#[derive(Debug)]
pub(super) struct LogClock {
    now: Option<Timestamp>,
    /// No line up to here is in doubt.
    trusted_until: Timestamp,
    held: Vec<Ruled>,
}

/// A line about which the clock has made up its mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruled {
    /// The line's stamp.
    pub(super) at: Timestamp,
    /// The line.
    pub(super) raw: Vec<u8>,
    /// Whether the clock follows its stamp. If not, it counts as arrived now.
    pub(super) trusted: bool,
}

impl Default for LogClock {
    fn default() -> Self {
        Self { now: None, trusted_until: NEVER, held: Vec::new() }
    }
}

const NEVER: Timestamp = Timestamp::from_micros(i64::MIN);

impl LogClock {
    /// Whether a line of that stamp may be taken at once.
    #[inline]
    pub(super) fn trusts(&self, at: Timestamp) -> bool {
        at <= self.trusted_until
    }

    /// The clock shows this now.
    #[inline]
    pub(super) fn moved(&mut self, now: Timestamp) {
        self.now = Some(now);
        self.trusted_until = if self.held.is_empty() { now + AHEAD_MAX } else { NEVER };
    }

    /// Considers a line that is not trusted at once. Returns the lines, this and earlier ones, that are decided by it, in
    /// the order to take them.
    pub(super) fn doubt(&mut self, at: Timestamp, raw: &[u8]) -> Vec<Ruled> {
        let line = Ruled { at, raw: raw.to_vec(), trusted: true };
        let newest = self.held.iter().map(|held| held.at).max();
        let goes_back = newest.is_some_and(|newest| at + AHEAD_MAX < newest);
        let decided = match self.now {
            Some(now) if at <= now + AHEAD_MAX => {
                let mut decided = self.release(false);
                decided.push(line);
                decided
            }
            Some(_) if goes_back => {
                let decided = self.release(false);
                self.held.push(line);
                decided
            }
            // The log begins with two that disagree: the earlier one is the clock.
            None if goes_back => {
                let mut decided = vec![line];
                decided.append(&mut self.release(false));
                decided
            }
            Some(_) | None => {
                self.held.push(line);
                let bytes: usize = self.held.iter().map(|held| held.raw.len()).sum();
                if self.held.len() >= CONFIRMED_BY || bytes > HELD_BYTES_MAX { self.release(true) } else { Vec::new() }
            }
        };
        // With something held, every line is looked at here.
        match self.now {
            Some(now) => self.moved(now),
            None => self.trusted_until = NEVER,
        }
        decided
    }

    /// The log is over: what nobody has contradicted is right.
    pub(super) fn end(&mut self) -> Vec<Ruled> {
        self.release(true)
    }

    fn release(&mut self, trusted: bool) -> Vec<Ruled> {
        let mut held = std::mem::take(&mut self.held);
        held.iter_mut().for_each(|line| line.trusted = trusted);
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes go in; what was decided at each and at the end comes out, as `minute` or `minute!` where not trusted.
    fn play(minutes: &[i64]) -> String {
        let t = |minute: i64| Timestamp::from_seconds(minute * 60);
        let show = |lines: Vec<Ruled>, clock: &mut LogClock, now: &mut Timestamp| {
            lines.iter().fold(String::new(), |mut text, line| {
                if line.trusted {
                    *now = (*now).max(line.at);
                    clock.moved(*now);
                }
                text.push_str(&format!(" {}{}", line.at.as_seconds() / 60, if line.trusted { "" } else { "!" }));
                text
            })
        };
        let (mut clock, mut now, mut text) = (LogClock::default(), NEVER, String::new());
        for &minute in minutes {
            let decided = if clock.trusts(t(minute)) {
                vec![Ruled { at: t(minute), raw: Vec::new(), trusted: true }]
            } else {
                clock.doubt(t(minute), b"")
            };
            text.push_str(&show(decided, &mut clock, &mut now));
        }
        let rest = clock.end();
        text.push_str(" |");
        text.push_str(&show(rest, &mut clock, &mut now));
        text.trim().to_owned()
    }

    #[test]
    fn lines_far_ahead_wait_for_others_to_speak() {
        let cases: [(&str, &[i64], &str); 8] = [
            ("few lines are believed at the end", &[0, 1, 60], "| 0 1 60"),
            ("a lone stamp", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9_000, 1, 2], "0 0 0 0 0 0 0 0 0 0 9000! 1 2 |"),
            ("five minutes are near", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 10, 4], "0 0 0 0 0 0 0 0 0 0 5 10 4 |"),
            ("an hour of silence", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 61, 59], "0 0 0 0 0 0 0 0 0 0 | 60 61 59"),
            (
                "ten lines move the clock",
                &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70],
                "0 0 0 0 0 0 0 0 0 0 60 61 62 63 64 65 66 67 68 69 70 |",
            ),
            (
                "an hour of silence that a wild stamp ends",
                &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9_000, 60, 61],
                "0 0 0 0 0 0 0 0 0 0 9000! | 60 61",
            ),
            ("the log begins wildly", &[9_000, 0, 1], "0 9000! 1 |"),
            (
                "one line an hour",
                &[0, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600],
                "0 60 120 180 240 300 360 420 480 540 | 600",
            ),
        ];
        for (name, minutes, want) in cases {
            assert_eq!(play(minutes), want, "{name}");
        }
    }
}
