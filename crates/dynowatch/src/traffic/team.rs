//! The demo's team: four apps that live through what pages people, every ten minutes anew.
//!
//! | app              | what happens, in seconds of a round of ten minutes |
//! |------------------|------|
//! | `shop-web`       | 12-110: a slow storm of H12 with Gunicorn worker timeouts, H13 among them |
//! | `billing-worker` | 0-90: a worker leaks, R14 from about 22, R15 and SIGKILL at about 80 |
//! | `api-prod`       | 25: a bad release, crash loop and H10; 170: rolled back |
//! | `reports`        | nothing: scheduler jobs, custom metrics, a dyno that cycles |
//!
//! Before a story there can be [quiet hours](Team::quiet): the same apps with nothing the matter, so that charts have a past.
//!
//! Time is the caller's. The first [`Team::step`] starts round one at its `now`; from then on the lines are a function
//! of the seed and that start alone, however the caller cuts time into steps. A line is made when its stamp
//! has come, so no stamp lies ahead. Real platforms wait longer before the third restart; the demo has no ten minutes
//! to spare for that.

mod cast;
mod everyday;
mod story;

use std::collections::{BTreeMap, VecDeque};

use super::line::Line;
use super::rng::{Fnv, Rng};
pub use cast::QUIET_S;
use cast::{CAST, Member};
use everyday::Stream;

/// Lines that Logplex holds per drain; what overflows between two steps is lost from the old end, and an L10 says so.
const BUFFER_LINES_MAX: usize = 1_024;
/// Logplex's target for a body.
const BODY_BYTES_TARGET: usize = 102_400;

/// One POST to the drain endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The app's name, one of [`Team::apps`].
    pub app: &'static str,
    /// `Logplex-Drain-Token` of that app.
    pub drain_token: String,
    /// `application/logplex-1`: frames by octet count, nothing between them.
    pub body: Vec<u8>,
    /// `Logplex-Msg-Count`: frames in the body.
    pub msg_count: usize,
    /// `Logplex-Frame-Id`: 32 upper-case hex digits, made from the body, so that a second run of the same demo is no repeat.
    pub frame_id: String,
}

/// The simulated team. Pure: no clock, no sockets.
#[derive(Debug)]
pub struct Team {
    members: Vec<Member>,
    streams: Vec<Stream>,
    /// Lines whose stamp has not come yet, by stamp and order of making.
    held: BTreeMap<(i64, u64), (usize, Line)>,
    made: u64,
    started: bool,
    seed: u64,
}

impl Team {
    /// A team whose lines depend on `seed` and on the time of the first step.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(seed, CAST.iter().map(|role| Member::new(seed, role)).collect())
    }

    /// The team of the same seed on a day when nothing goes wrong: requests come and go in waves, a release goes well, and
    /// the worker that will leak is on its way there after [`QUIET_S`] seconds. It has the apps and drain tokens of
    /// [`Team::new`].
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        Self::of(seed, CAST.iter().map(|role| Member::quiet(seed, role)).collect())
    }

    fn of(seed: u64, members: Vec<Member>) -> Self {
        Team { members, streams: Vec::new(), held: BTreeMap::new(), made: 0, started: false, seed }
    }

    /// The apps' names, in the order batches come.
    #[must_use]
    pub fn apps() -> [&'static str; CAST.len()] {
        CAST.map(|role| role.name)
    }

    /// The drain token of an app; `None` when the team has no app of that name.
    #[must_use]
    pub fn drain_token(&self, app: &str) -> Option<&str> {
        self.members.iter().find(|member| member.role.name == app).map(|member| member.drain_token.as_str())
    }

    /// All lines since the last step with stamps up to `now_us` (microseconds since the Unix epoch), as bodies of
    /// about Logplex's size. The first call starts the story and gives nothing; time that stands still or goes back
    /// gives nothing.
    pub fn step(&mut self, now_us: i64) -> Vec<Batch> {
        if !self.started {
            self.started = true;
            self.streams = everyday::streams(self.seed, &self.members, now_us);
        }
        let mut due: Vec<Outbox> = self.members.iter().map(|_| Outbox::default()).collect();
        while let Some(stream) =
            self.streams.iter_mut().filter(|stream| stream.next_us <= now_us).min_by_key(|s| s.next_us)
        {
            let app = stream.app;
            let made_at_us = stream.next_us;
            for line in stream.wake(&self.members[app]) {
                debug_assert!(line.at_us >= made_at_us, "a line older than its cause would come out of order");
                self.held.insert((line.at_us, self.made), (app, line));
                self.made += 1;
            }
            // Nothing made later can be older than this, so what is due leaves at once and `held` stays small.
            self.release(made_at_us.saturating_sub(1), &mut due);
        }
        self.release(now_us, &mut due);
        self.members.iter().zip(due).flat_map(|(member, outbox)| outbox.batches(member)).collect()
    }

    fn release(&mut self, until_us: i64, due: &mut [Outbox]) {
        while let Some(first) = self.held.first_entry() {
            if first.key().0 > until_us {
                break;
            }
            let (app, line) = first.remove();
            due[app].push(line);
        }
    }
}

/// What one app's drain holds between two steps.
#[derive(Debug, Default)]
struct Outbox {
    lines: VecDeque<Line>,
    dropped: u64,
    dropped_since_us: i64,
}

impl Outbox {
    fn push(&mut self, line: Line) {
        if self.lines.len() >= BUFFER_LINES_MAX
            && let Some(lost) = self.lines.pop_front()
        {
            if self.dropped == 0 {
                self.dropped_since_us = lost.at_us;
            }
            self.dropped += 1;
        }
        self.lines.push_back(line);
    }

    fn batches(self, member: &Member) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut body = Vec::new();
        let mut msg_count = 0;
        if self.dropped > 0 {
            body.extend_from_slice(&self.loss_frame());
            msg_count += 1;
        }
        for line in &self.lines {
            line.frame_into(&mut body);
            msg_count += 1;
            if body.len() >= BODY_BYTES_TARGET {
                batches.push(member.batch(std::mem::take(&mut body), msg_count));
                msg_count = 0;
            }
        }
        if msg_count > 0 {
            batches.push(member.batch(body, msg_count));
        }
        batches
    }

    /// Logplex's own loss report: first in the next body, counted, and without a newline.
    fn loss_frame(&self) -> Vec<u8> {
        let now_us = self.lines.front().map_or(self.dropped_since_us, |line| line.at_us);
        let whole_second =
            |at_us: i64| super::line::stamp(at_us).replace(&format!(".{:06}", at_us.rem_euclid(1_000_000)), "");
        let message = format!(
            "<172>1 {} host heroku logplex - Error L10 (output buffer overflow): {} messages dropped since {}.",
            whole_second(now_us),
            self.dropped,
            whole_second(self.dropped_since_us)
        );
        format!("{} {message}", message.len()).into_bytes()
    }
}

impl Member {
    fn batch(&self, body: Vec<u8>, msg_count: usize) -> Batch {
        let half = |salt: &[u8]| {
            let mut hash = Fnv::default();
            hash.write(salt);
            hash.write(self.drain_token.as_bytes());
            hash.write(&body);
            Rng::new(hash.finish()).next_u64()
        };
        let frame_id = format!("{:016X}{:016X}", half(b"high"), half(b"low"));
        Batch { app: self.role.name, drain_token: self.drain_token.clone(), body, msg_count, frame_id }
    }
}

#[cfg(test)]
mod tests;
