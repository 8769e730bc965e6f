//! The drain's statistics: what came in, what was refused, what could not be read, and when we were blind.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dynowatch_engine::Engine;
use dynowatch_engine::totals::Counts;
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;
use super::apps::{ReasonCount, malformed};
use super::error::ApiError;
use crate::router::Web;

/// How far back blind times are listed.
const BLINDS_SHOWN: Duration = Duration::from_secs(86_400);

/// What this process's drain endpoint did since `counted_since`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DrainInfo {
    /// Whether it takes deliveries at all: it is enabled and a secret is set.
    on: bool,
    /// When this process began to count.
    counted_since: Time,
    /// Batches by their answer.
    batches: Batches,
    /// Lines of all kinds.
    lines: u64,
    /// Lines with a stamp too far ahead, counted as arrived at once.
    lines_ahead: u64,
    /// Frames that could not be read, by reason.
    malformed: Vec<ReasonCount>,
    /// Requests being read or answered now.
    in_progress: u64,
    /// Batches waiting for their commit now.
    commit_queue: u64,
    /// Gaps that are still to be written down.
    gaps_waiting: u64,
    /// Times of the last 24 hours when not everything was seen, oldest first; at most 1,000.
    blind: Vec<BlindInfo>,
}

/// Batches by their answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Batches {
    /// 204.
    accepted: u64,
    /// Of these, seen before and counted once.
    duplicate: u64,
    /// Of these, with a content type that is not Logplex's, or with none.
    odd_content_type: u64,
    /// Of these, with a Logplex-Msg-Count that is not the number of their frames.
    odd_msg_count: u64,
    /// 401: the credential was missing or wrong. Logplex drops such a batch for good.
    unauthorized: u64,
    /// 413.
    too_large: u64,
    /// 501: the drain was off.
    disabled: u64,
    /// 503: too much waited to be committed.
    overloaded: u64,
    /// 503: the store was away.
    store_away: u64,
    /// 503: the body broke off, or was not there in time.
    incomplete: u64,
    /// 500: a fault in dynowatch.
    fault: u64,
}

/// A time when not everything was seen.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlindInfo {
    /// The app; `null` means all.
    app: Option<String>,
    /// `down`, `refused`, `log_loss`, or `unwritten`: metrics found no room, so that shares, absences and rules on metrics are
    /// unknown, while counts are not.
    reason: &'static str,
    /// The first moment.
    from: Time,
    /// The last moment.
    until: Time,
    /// Lines lost, where it is known.
    lines_lost: Option<u64>,
}

/// The drain's statistics.
#[utoipa::path(get, path = "/api/v1/drain", tag = "drain", responses((status = 200, description = "The statistics.", body = DrainInfo)))]
pub(crate) async fn show(State(web): State<Arc<Web>>) -> Result<Json<DrainInfo>, ApiError> {
    let (engine, now) = (&web.engine, web.engine.now());
    let blinds = engine.store().all_blinds_between(now - BLINDS_SHOWN, now).await?;
    let (counts, stats, apps) = (all_counts(engine), engine.stats(), engine.apps());
    Ok(Json(DrainInfo {
        on: web.drain.is_on(),
        counted_since: engine.started_at().into(),
        batches: Batches {
            accepted: stats.batches_accepted.get(),
            duplicate: stats.batches_duplicate.get(),
            odd_content_type: stats.batches_odd_content_type.get(),
            odd_msg_count: stats.batches_odd_msg_count.get(),
            unauthorized: stats.batches_unauthorized.get(),
            too_large: stats.batches_too_large.get(),
            disabled: stats.batches_disabled.get(),
            overloaded: stats.batches_overloaded.get(),
            store_away: stats.batches_store_away.get(),
            incomplete: stats.batches_incomplete.get(),
            fault: stats.batches_faulty.get(),
        },
        lines: counts.lines(),
        lines_ahead: counts.ahead,
        malformed: malformed(&counts),
        in_progress: stats.batches_in_progress.get(),
        commit_queue: stats.commit_queue.get(),
        gaps_waiting: engine.gaps_waiting() as u64,
        blind: blinds
            .into_iter()
            .map(|(app, blind)| BlindInfo {
                app: app.map(|id| apps.by_id(id).map_or_else(|| id.to_string(), |app| app.name.clone())),
                reason: blind.reason.as_str(),
                from: blind.from.into(),
                until: blind.until.into(),
                lines_lost: blind.lines_lost,
            })
            .collect(),
    }))
}

/// The plain counters of all apps, summed.
pub(crate) fn all_counts(engine: &Engine) -> Counts {
    let mut all = Counts::default();
    for app in engine.apps().iter() {
        engine.totals(app, |totals| {
            for (sum, n) in all.kinds.iter_mut().zip(totals.counts.kinds) {
                *sum += n;
            }
            for (sum, n) in all.malformed.iter_mut().zip(totals.counts.malformed) {
                *sum += n;
            }
            all.ahead += totals.counts.ahead;
        });
    }
    all
}
