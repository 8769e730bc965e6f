//! Prometheus remote write, the part with a memory: what is to be written (`collect`), what waits, when it is tried again,
//! and what is dropped when the receiver stays away. How a request looks and what an answer means is `dynowatch_notify::remote_write`'s.
//!
//! Requests go out one after another in the order they were made, because receivers take the samples of a series in the
//! order of their time only. The buffer is in memory: after a restart writing goes on with the present, and the time
//! between is missing there as it would be for a scrape.

mod collect;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::{self, Next, Outcome};
use dynowatch_notify::remote_write::{RemoteWriteTarget, Series, encode};

use crate::apps::lock;
use crate::random::jitter;
use crate::{Engine, stats::Stats};

/// The most samples of one request, as Prometheus itself sends them.
pub const REQUEST_SAMPLES_MAX: usize = 2_000;
/// The most bytes, compressed, that wait for a receiver that is away. The oldest requests are dropped first.
pub const WAITING_BYTES_MAX: usize = 16 << 20;

/// How often what is due is looked for.
pub const WRITE_PASS_EVERY: Duration = Duration::from_secs(1);

/// What to write, besides where.
#[derive(Debug, Clone)]
pub struct RemoteWriteOptions {
    /// How often; a multiple of ten seconds.
    pub interval: Duration,
    /// Labels of every series, such as `environment`. They give way to the series' own.
    pub labels: Vec<(String, String)>,
}

/// What waits for one receiver, and how it has been doing.
pub struct RemoteWrite {
    engine: Engine,
    options: RemoteWriteOptions,
    collected: tokio::sync::Mutex<collect::Collected>,
    waiting_bytes_max: usize,
    target: RemoteWriteTarget,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    /// Attempts at the first request.
    attempts: u32,
    /// No attempt before this.
    not_before: Option<Timestamp>,
    /// The receiver's troubles were logged and are not over.
    failing: bool,
    next_number: u64,
}

#[derive(Clone)]
struct Request {
    /// Tells whether the first request is still the one that was tried: meanwhile it may have been dropped.
    number: u64,
    body: Bytes,
    samples: u64,
}

impl RemoteWrite {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(engine: Engine, target: RemoteWriteTarget, options: RemoteWriteOptions) -> Self {
        Self {
            engine,
            options,
            collected: tokio::sync::Mutex::default(),
            waiting_bytes_max: WAITING_BYTES_MAX,
            target,
            waiting: Mutex::default(),
        }
    }

    /// The same with another bound than [`WAITING_BYTES_MAX`].
    #[must_use]
    pub fn with_waiting_bytes_max(self, waiting_bytes_max: usize) -> Self {
        Self { waiting_bytes_max, ..self }
    }

    /// Takes series to be written, each with the samples that are new. What does not fit pushes out the oldest.
    pub fn offer(&self, series: &[Series]) {
        let mut rest = series;
        while !rest.is_empty() {
            let mut samples = 0;
            let fitting = rest.iter().take_while(|series| {
                samples += series.samples_len();
                samples <= REQUEST_SAMPLES_MAX
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            self.enqueue(now);
            rest = later;
        }
    }

    fn enqueue(&self, series: &[Series]) {
        let samples = series.iter().map(Series::samples_len).sum::<usize>() as u64;
        let stats = self.stats();
        if samples == 0 {
            return;
        }
        let Ok(body) = encode(series) else {
            stats.remote_write_dropped.add(samples);
            return;
        };
        let mut waiting = lock(&self.waiting);
        waiting.next_number += 1;
        let number = waiting.next_number;
        waiting.bytes += body.len();
        waiting.requests.push_back(Request { number, body, samples });
        let mut dropped = 0;
        while waiting.bytes > self.waiting_bytes_max
            && let Some(oldest) = waiting.requests.pop_front()
        {
            waiting.bytes -= oldest.body.len();
            waiting.attempts = 0;
            dropped += oldest.samples;
        }
        if dropped > 0 {
            stats.remote_write_dropped.add(dropped);
            tracing::warn!(
                samples = dropped,
                to = self.target.origin(),
                "remote write: the buffer is full; the oldest samples are dropped"
            );
        }
        note_waiting(stats, &waiting);
    }

    /// Sends what is due, one request after another, until none is left or one has to wait. Returns how many were taken.
    pub async fn send_due(&self) -> usize {
        let mut taken = 0;
        loop {
            let now = self.engine.now();
            let Some(request) = self.due(now) else { return taken };
            let outcome = self.target.write(request.body.clone(), now).await;
            taken += usize::from(matches!(outcome, Outcome::Accepted { .. }));
            // The attempt took its time, so the pause begins after it.
            self.settle(&request, &outcome, self.engine.now());
        }
    }

    /// When to look again; `None` when nothing waits.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        let waiting = lock(&self.waiting);
        waiting.requests.front().map(|_| waiting.not_before.unwrap_or(Timestamp::UNIX_EPOCH))
    }

    fn due(&self, now: Timestamp) -> Option<Request> {
        let waiting = lock(&self.waiting);
        if waiting.not_before.is_some_and(|at| now < at) { None } else { waiting.requests.front().cloned() }
    }

    /// Draws the consequences of an attempt.
    fn settle(&self, request: &Request, outcome: &Outcome, now: Timestamp) {
        let stats = self.stats();
        let mut waiting = lock(&self.waiting);
        if waiting.requests.front().map(|first| first.number) != Some(request.number) {
            // Pushed out meanwhile, and counted there. If it was taken all the same, it was counted twice at most.
            return;
        }
        waiting.attempts = waiting.attempts.saturating_add(1);
        // What waits too long is pushed out by what is newer, so no attempt is the last one.
        match delivery::next(outcome, waiting.attempts, now, now, jitter()) {
            Next::At(at) => {
                stats.remote_write_retries.up();
                waiting.not_before = Some(at);
                if !std::mem::replace(&mut waiting.failing, true) {
                    tracing::warn!(
                        to = self.target.origin(),
                        detail = outcome.detail(),
                        "remote write fails; it is tried again"
                    );
                }
                return;
            }
            Next::Sent => {
                stats.remote_write_sent.add(request.samples);
                if std::mem::replace(&mut waiting.failing, false) {
                    tracing::info!(to = self.target.origin(), "remote write works again");
                }
            }
            Next::Failed(detail) => {
                stats.remote_write_rejected.add(request.samples);
                if !std::mem::replace(&mut waiting.failing, true) {
                    tracing::error!(
                        to = self.target.origin(),
                        detail,
                        samples = request.samples,
                        "remote write is refused; the samples are dropped"
                    );
                }
            }
        }
        waiting.requests.pop_front();
        waiting.bytes -= request.body.len();
        (waiting.attempts, waiting.not_before) = (0, None);
        note_waiting(stats, &waiting);
    }

    pub(crate) fn store_failed(&self, error: &dynowatch_store::StoreError) {
        self.engine.shared.store_failed("remote_write", error);
    }

    fn stats(&self) -> &Stats {
        self.engine.stats()
    }
}

fn note_waiting(stats: &Stats, waiting: &Waiting) {
    stats.remote_write_waiting.set(waiting.requests.iter().map(|request| request.samples).sum());
}
