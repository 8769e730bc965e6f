//! Heartbeats among the checks: they are not run but looked at, when a job said something, when its deadline comes, and on
//! their grid while something is wrong.

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::CheckKind;
use dynowatch_domain::check::heartbeat::{Heartbeat, HeartbeatState, Judged};
use dynowatch_domain::check::observation::{Memory, Observation};
use dynowatch_domain::check::outcome::{Outcome, Reason};
use dynowatch_domain::check::state::Phase;

use super::board::Job;
use crate::Shared;
use crate::apps::lock;

/// What a look says, as far as it is news.
pub(crate) fn look(shared: &Shared, job: &Job) -> Option<(Observation, Option<Memory>, String)> {
    let CheckKind::Heartbeat(heartbeat) = &job.check.kind else { return None };
    let now = shared.clock.now();
    let mut board = lock(&shared.checks.board);
    let live = &board.entry(job.number)?.live;
    let judged = heartbeat.judge(&live.heartbeat, now);
    let up = live.state.phase() == Phase::Up;
    let news = match judged.reason {
        // Told once for each ping that says so.
        Some(Reason::HeartbeatFailed) => false,
        Some(_) => true,
        None if judged.unknown => live.heartbeat.heard_at.is_some() || live.state.last_run_at().is_none(),
        None => !up && live.heartbeat.last.is_some(),
    };
    news.then(|| (observation(&judged, now), None, String::new()))
}

/// What a ping says, and when the job must be looked at again.
pub(crate) fn heard(heartbeat: &Heartbeat, state: &HeartbeatState, now: Timestamp) -> (Observation, Option<Timestamp>) {
    let judged = heartbeat.judge(state, now);
    (observation(&judged, now), judged.look_at)
}

fn observation(judged: &Judged, now: Timestamp) -> Observation {
    if judged.unknown {
        return Observation {
            outcome: Outcome::Unknown,
            reason: Some(Reason::NotMeasured),
            ..Observation::bare(now, Some(Reason::NotMeasured), judged.detail.clone())
        };
    }
    Observation::bare(now, judged.reason, judged.detail.clone())
}
