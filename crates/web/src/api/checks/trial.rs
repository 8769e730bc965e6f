//! Trying checks out: a run with its whole transcript, of a check that is saved or of one that is not yet; other thresholds
//! on the stored past. A run sends requests from our network, so it is for those who may save a check, is written down in
//! the audit log, and goes nowhere else than a saved check could.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dynowatch_domain::check::replay::{Page as Told, Replay};
use dynowatch_domain::check::state::{FLAP_TRANSITIONS_MAX, Why};
use dynowatch_domain::check::{Flapping, Thresholds};
use dynowatch_domain::parse::duration;
use dynowatch_engine::checks::Explanation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::error::{ApiError, ErrorBody};
use super::super::series::span;
use super::super::{Named, Sent, Time};
use super::found;
use super::past::zone;
use super::words::{ObservationInfo, ThresholdsInfo, observation, thresholds};
use crate::auth::{Actor, Reach};
use crate::explain::NotExplained;
use crate::router::Web;
use crate::show::masked;

/// What a check is called that has no name yet.
pub(crate) const TRIAL: &str = "this-check";
/// What a replay looks at when no span is given: as long as runs are kept.
const REPLAYED: Duration = Duration::from_secs(7 * 86_400);
/// Pages of an answer, the oldest.
const PAGES_MAX: usize = 200;

/// A check that is not saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    /// The check, with the keys of `[[checks]]` in the configuration file but for its name.
    #[schema(value_type = Object)]
    check: Map<String, Value>,
    /// The name it is to have; that of a check that is there lets the trial know its pin.
    name: Option<String>,
}

/// A run and everything it did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationInfo {
    /// The check's name.
    check: String,
    /// `web`, `redis`, ….
    kind: String,
    /// What the run found.
    observation: ObservationInfo,
    /// What it did, line by line.
    transcript: Vec<TranscriptLine>,
    /// Lines beyond those.
    lines_left_out: u64,
    /// All of it as one text for people, as the CLI prints it.
    text: String,
}

/// A line of a transcript.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TranscriptLine {
    /// Microseconds since the run began.
    at_us: u64,
    /// Who speaks: `note`, `sent` or `received`.
    side: &'static str,
    /// Masked and bounded.
    text: String,
}

/// Other thresholds; a key that is not given is as the check has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayAsked {
    /// So many failed runs in a row make it down.
    failures: Option<u32>,
    /// Or failing for so long, as in `5m`; `never` for none.
    failing_for: Option<String>,
    /// So many good runs in a row make it up again.
    recoveries: Option<u32>,
    /// And being good for so long; `never` for none.
    recovering_for: Option<String>,
    /// `{"transitions": 6, "window": "10m", "quiet": "10m"}`, or `false` for never.
    #[schema(value_type = Object)]
    flapping: Option<FlappingAsked>,
    /// Whether somebody is told of degraded.
    tell_degraded: Option<bool>,
    /// RFC 3339, or before now as in `-3d`; seven days before `until` when not given.
    from: Option<String>,
    /// The same; now when not given.
    until: Option<String>,
    /// In which zone hours are working hours; UTC when not given.
    zone: Option<String>,
}

/// When a check shall count as flapping.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FlappingAsked {
    No(bool),
    When(FlappingWhen),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlappingWhen {
    transitions: u32,
    window: String,
    quiet: String,
}

/// What thresholds would have done, beside the present ones.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayInfo {
    /// From when on results are there.
    from: Time,
    /// Up to when.
    until: Time,
    /// Runs that were looked at.
    runs: u64,
    /// The zone of the working hours, Monday to Friday, 9 to 18 o'clock.
    zone: String,
    /// What was asked for.
    wanted: OutcomeInfo,
    /// What the check has now.
    present: OutcomeInfo,
}

/// What some thresholds would have done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutcomeInfo {
    /// The thresholds.
    thresholds: ThresholdsInfo,
    /// In words: `would have paged 4 times, 3 after hours`.
    shown: String,
    /// Pages it would have sent.
    pages: usize,
    /// Those of them outside of working hours.
    after_hours: usize,
    /// Outages of which nobody would have been told.
    untold: u64,
    /// The first 200 of the pages.
    told: Vec<ToldInfo>,
}

/// A page that would have been sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToldInfo {
    /// When.
    at: Time,
    /// `down`, `flapping`, or `settled_down`: it no longer flapped, and was down.
    why: &'static str,
    /// The first failure of the outage.
    began_at: Time,
    /// The first success after it; `null` while it goes on.
    ended_at: Option<Time>,
    /// How long it lasted, in seconds.
    lasted_s: Option<u64>,
    /// Whether it was outside of working hours.
    after_hours: bool,
}

/// Runs a saved check once, besides its schedule, and tells everything the run did. Its result counts nowhere.
#[utoipa::path(post, path = "/api/v1/checks/{name}/explain", tag = "checks", params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "What the run found and did.", body = ExplanationInfo),
    (status = 404, description = "No check of that name.", body = ErrorBody),
    (status = 503, description = "Others are explaining checks, or it took too long.", body = ErrorBody)))]
pub(crate) async fn explain(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Named(name): Named,
) -> Result<Json<ExplanationInfo>, ApiError> {
    let status = found(&web, &reach, &name).await?;
    let explained = web.explains.run(&web.engine, status.check, &actor.0).await?;
    Ok(Json(info(&web, explained)))
}

/// Runs a check once that is not saved, and tells everything the run did. The addresses that checks may not reach are
/// refused to it as well.
#[utoipa::path(post, path = "/api/v1/explain", tag = "checks", request_body = Draft, responses(
    (status = 200, description = "What the run found and did.", body = ExplanationInfo),
    (status = 400, description = "Something is wrong with it: each key, and what would be right.", body = ErrorBody),
    (status = 503, description = "Others are explaining checks, or it took too long.", body = ErrorBody)))]
pub(crate) async fn explain_draft(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Sent(draft): Sent<Draft>,
) -> Result<Json<ExplanationInfo>, ApiError> {
    let name = draft.name.as_deref().unwrap_or(TRIAL);
    let check = web.engine.draft_check(name, &Value::Object(draft.check)).await?;
    let explained = web.explains.run(&web.engine, check, &actor.0).await?;
    Ok(Json(info(&web, explained)))
}

/// What other thresholds would have done with the stored runs: every page they would have sent, beside those of the present
/// ones. Runs of the last seven days are kept. Nothing is saved or sent.
#[utoipa::path(post, path = "/api/v1/checks/{name}/replay", tag = "checks", request_body = ReplayAsked, params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "What they would have done.", body = ReplayInfo),
    (status = 400, description = "Something is wrong with the thresholds or the span.", body = ErrorBody),
    (status = 404, description = "No check of that name.", body = ErrorBody)))]
pub(crate) async fn replay(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(name): Named,
    Sent(asked): Sent<ReplayAsked>,
) -> Result<Json<ReplayInfo>, ApiError> {
    let status = found(&web, &reach, &name).await?;
    let present = &status.check.thresholds;
    let wanted = read(&asked, present)?;
    let (from, until) = span(asked.from.as_deref(), asked.until.as_deref(), REPLAYED, web.engine.now())?;
    let (zone_name, zone) = zone(asked.zone.as_deref())?;
    let replayed = web.engine.replay_check(&name, &wanted, from, until).await?;
    Ok(Json(ReplayInfo {
        from: replayed.from.into(),
        until: replayed.until.into(),
        runs: replayed.present.runs,
        zone: zone_name,
        wanted: outcome(&wanted, &replayed.other, &zone),
        present: outcome(present, &replayed.present, &zone),
    }))
}

fn read(asked: &ReplayAsked, present: &Thresholds) -> Result<Thresholds, ApiError> {
    let time = |key: &str, text: &str| {
        let wrong = |why: &str| ApiError::bad_request(&format!("{key}: {why}"));
        let time = duration(text).map_err(|error| wrong(&error.0))?;
        if time.is_zero() || time > REPLAYED { Err(wrong("write more than 0s and at most 7d")) } else { Ok(time) }
    };
    let maybe = |key: &str, asked: &Option<String>, present| match asked.as_deref() {
        None => Ok(present),
        Some("never") => Ok(None),
        Some(text) => time(key, text).map(Some),
    };
    let count = |key: &str, asked: Option<u32>, present| match asked {
        None => Ok(present),
        Some(n @ 1..=10_000) => Ok(n),
        Some(n) => Err(ApiError::bad_request(&format!("{key} is {n}: write 1 to 10000"))),
    };
    let flapping = match &asked.flapping {
        None => present.flapping,
        Some(FlappingAsked::No(false)) => None,
        Some(FlappingAsked::No(true)) => Some(present.flapping.unwrap_or_default()),
        Some(FlappingAsked::When(when)) => {
            if !(3..=FLAP_TRANSITIONS_MAX).contains(&when.transitions) {
                let most = FLAP_TRANSITIONS_MAX;
                return Err(ApiError::bad_request(&format!("flapping.transitions: write 3 to {most}")));
            }
            let (window, quiet) = (time("flapping.window", &when.window)?, time("flapping.quiet", &when.quiet)?);
            Some(Flapping { transitions: when.transitions, window, quiet })
        }
    };
    Ok(Thresholds {
        failures: count("failures", asked.failures, present.failures)?,
        failing_for: maybe("failing_for", &asked.failing_for, present.failing_for)?,
        recoveries: count("recoveries", asked.recoveries, present.recoveries)?,
        recovering_for: maybe("recovering_for", &asked.recovering_for, present.recovering_for)?,
        flapping,
        tell_degraded: asked.tell_degraded.unwrap_or(present.tell_degraded),
    })
}

fn outcome(of: &Thresholds, replay: &Replay, zone: &jiff::tz::TimeZone) -> OutcomeInfo {
    let after_hours = replay.after_hours(zone);
    let told = |page: &Told| ToldInfo {
        at: page.at.into(),
        why: match page.why {
            Why::Down => "down",
            Why::Flapping => "flapping",
            Why::SettledDown => "settled_down",
        },
        began_at: page.began_at.into(),
        ended_at: page.ended_at.map(Time),
        lasted_s: page.lasted().map(|lasted| lasted.as_secs()),
        after_hours: page.is_after_hours(zone),
    };
    OutcomeInfo {
        thresholds: thresholds(of),
        shown: replay.show(zone),
        pages: replay.pages.len(),
        after_hours,
        untold: replay.untold,
        told: replay.pages.iter().take(PAGES_MAX).map(told).collect(),
    }
}

fn info(web: &Web, explanation: Explanation) -> ExplanationInfo {
    use dynowatch_engine::checks::Side;
    let line = |line: &dynowatch_engine::checks::TranscriptLine| TranscriptLine {
        at_us: line.at_us,
        side: match line.side {
            Side::Note => "note",
            Side::Sent => "sent",
            Side::Received => "received",
        },
        text: masked(&web.engine, &line.text),
    };
    ExplanationInfo {
        check: explanation.check.clone(),
        kind: explanation.kind.clone(),
        observation: observation(web, &explanation.observation),
        transcript: explanation.transcript.lines.iter().map(line).collect(),
        lines_left_out: explanation.transcript.lines_left_out,
        text: masked(&web.engine, &explanation.to_string()),
    }
}

impl From<NotExplained> for ApiError {
    fn from(error: NotExplained) -> Self {
        match error {
            NotExplained::Store(error) => error.into(),
            error => Self::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "busy", &error.to_string()),
        }
    }
}
