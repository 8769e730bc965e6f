//! Numbers about ourselves: commits, queues, refusals. Plain atomics, read by `/metrics` and the drain statistics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dynowatch_domain::check::Outcome;

/// Upper bounds of the commit latency histogram, in seconds.
pub const LATENCY_BOUNDS_S: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Upper bounds of the histogram of how late runs of checks begin, in seconds.
pub const LAG_BOUNDS_S: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the process began. All only grow, except where a comment says "now".
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: Counter,)*
            latency: [Counter; LATENCY_BOUNDS_S.len() + 1],
            latency_sum_us: Counter,
            lag: [Counter; LAG_BOUNDS_S.len() + 1],
            lag_sum_us: Counter,
        }
    };
}

/// One number that several threads add to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn up(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Takes one away; for numbers that mean "now".
    pub fn down(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// Replaces it; for numbers that mean "now".
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

counters! {
    /// Runs of checks.
    check_runs,
    /// Runs of checks that began more than a quarter of a second after their time.
    check_runs_late,
    /// Results of checks that found no room in their queue: the check is unknown for that time.
    check_results_dropped,
    /// Failures of checks that were not kept whole: the store was away or full for too long.
    check_results_lost,
    /// Pings of jobs that were taken.
    pings_taken,
    /// Pings whose token is none.
    pings_unknown,
    /// Pings answered 429 because one job sent too many.
    pings_limited_token,
    /// Pings answered 429 because one address sent too many.
    pings_limited_address,
    /// Pings answered 503: the store did not take them.
    pings_failed,
    /// Runs of checks whose target works.
    check_runs_up,
    /// Runs of checks whose target works, but not as it should.
    check_runs_degraded,
    /// Runs of checks whose target does not work.
    check_runs_down,
    /// Runs of checks that could not measure their target.
    check_runs_unknown,
    /// Batches answered 204.
    batches_accepted,
    /// Batches seen before and counted once.
    batches_duplicate,
    /// Batches answered 204 whose content type is not Logplex's, or missing.
    batches_odd_content_type,
    /// Batches answered 204 whose Logplex-Msg-Count is not the number of their frames.
    batches_odd_msg_count,
    /// Batches answered 503: too much waiting to be committed.
    batches_overloaded,
    /// Batches answered 503: the store was away.
    batches_store_away,
    /// Batches answered 503: their body broke off, or was not there in time.
    batches_incomplete,
    /// Batches answered 500: a fault of ours.
    batches_faulty,
    /// 1 while the store refuses what must be kept because its disk or database is full, now.
    store_full,
    /// Requests of pages answered 500 because of a panic.
    faults_page,
    /// Requests of programs, the API's above all, answered 500 because of a panic.
    faults_api,
    /// Batches answered 401.
    batches_unauthorized,
    /// Batches answered 413.
    batches_too_large,
    /// Batches answered 501.
    batches_disabled,
    /// Drain requests being read or answered, now.
    batches_in_progress,
    /// Batches waiting for their commit, now.
    commit_queue,
    /// Commits made.
    commits,
    /// Commits that failed and were tried again or given up.
    commit_failures,
    /// Events beyond a rule's group limit, counted under "other".
    groups_overflowed,
    /// Apps that found no room and were counted under "other".
    apps_overflowed,
    /// Requests to the API answered 429 because one token sent too many.
    api_limited_token,
    /// Requests to the API answered 429 because one address sent too many.
    api_limited_address,
    /// Requests of callers that found no room and shared one allowance.
    api_callers_overflowed,
    /// Gaps (refused batches) that found no room to be remembered.
    gaps_overflowed,
    /// Flushes of ten-second buckets that failed; their counts wait for the next.
    level_flush_failures,
    /// Buckets dropped because the store took none for too long.
    level_buckets_dropped,
    /// Flushes of metric values that failed; the values wait for the next.
    metric_flush_failures,
    /// Packed minutes that went before their time because room ran out.
    metric_rows_pruned_for_room,
    /// Metric values dropped because the store took none for too long.
    metric_values_dropped,
    /// Samples that the remote-write receiver has taken.
    remote_write_sent,
    /// Samples that the remote-write receiver has refused for good.
    remote_write_rejected,
    /// Samples dropped, oldest first, because the receiver was away for longer than the buffer lasts.
    remote_write_dropped,
    /// Attempts at remote write that are to be made again.
    remote_write_retries,
    /// Samples waiting to be written, now.
    remote_write_waiting,
}

/// A run that begins later than this after its time is late.
const LATE: Duration = Duration::from_millis(250);

impl Stats {
    /// Batches answered 503 or 500, which Logplex sends again.
    #[must_use]
    pub fn batches_sent_again(&self) -> u64 {
        let all = [&self.batches_overloaded, &self.batches_store_away, &self.batches_incomplete, &self.batches_faulty];
        all.into_iter().map(Counter::get).sum()
    }

    /// Counts a run by how long after its time it began.
    pub(crate) fn check_lag(&self, lag: Duration) {
        if lag > LATE {
            self.check_runs_late.up();
        }
        observe(&self.lag, &LAG_BOUNDS_S, &self.lag_sum_us, lag);
    }

    /// How late runs of checks began: how many fell under each of [`LAG_BOUNDS_S`] and above the last, and their sum in
    /// seconds.
    #[must_use]
    pub fn check_start_lag(&self) -> (Vec<u64>, f64) {
        read(&self.lag, &self.lag_sum_us)
    }

    /// Counts a run by what it came to.
    pub(crate) fn check_ran(&self, outcome: Outcome) {
        match outcome {
            Outcome::Up => &self.check_runs_up,
            Outcome::Degraded => &self.check_runs_degraded,
            Outcome::Down => &self.check_runs_down,
            Outcome::Unknown => &self.check_runs_unknown,
        }
        .up();
    }

    pub(crate) fn committed(&self, took: Duration) {
        self.commits.up();
        observe(&self.latency, &LATENCY_BOUNDS_S, &self.latency_sum_us, took);
    }

    /// Commit latencies: how many fell under each of [`LATENCY_BOUNDS_S`] and above the last, and their sum in seconds.
    #[must_use]
    pub fn commit_latency(&self) -> (Vec<u64>, f64) {
        read(&self.latency, &self.latency_sum_us)
    }
}

fn observe(buckets: &[Counter], bounds: &[f64], sum_us: &Counter, took: Duration) {
    let seconds = took.as_secs_f64();
    let slot = bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len());
    if let Some(counter) = buckets.get(slot) {
        counter.up();
    }
    sum_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

fn read(buckets: &[Counter], sum_us: &Counter) -> (Vec<u64>, f64) {
    #[expect(clippy::cast_precision_loss, reason = "a sum of microseconds for a graph")]
    let sum_s = sum_us.get() as f64 / 1e6;
    (buckets.iter().map(Counter::get).collect(), sum_s)
}
