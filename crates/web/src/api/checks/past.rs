//! What a check found before: its runs, its failures whole, its outages, its uptime with the coverage it rests on.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dynowatch_domain::Timestamp;
use dynowatch_domain::check::run::{ROW, Run};
use dynowatch_domain::check::uptime::Spent;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::error::{ApiError, ErrorBody};
use super::super::series::span;
use super::super::{Asked, Named, Page, Time, after, cursor};
use super::found;
use super::words::{ObservationInfo, PhasesInfo, held_by, observation, phases};
use crate::auth::Reach;
use crate::router::Web;
use crate::show::masked;
use crate::zone::Zone;

/// Runs of a page, unless the request says otherwise, and at most.
const RUNS: (u32, u32) = (100, 1_000);
/// Failures of a page; each may be some kilobytes.
const FAILURES: (u32, u32) = (20, 50);
/// Outages of a page.
const OUTAGES: (u32, u32) = (50, 200);
/// Changes of an answer, the newest.
const FLIPS_MAX: usize = 500;
/// What is looked at when no span is given.
const SPAN: Duration = Duration::from_secs(30 * 86_400);
/// The longest span: what is older is asked for piece by piece.
const SPAN_MAX: Duration = Duration::from_secs(800 * 86_400);
/// Days of an answer when nobody says how many, and at most.
const DAYS: (u16, u16) = (30, 400);

/// Which of the past.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PastQuery {
    /// Items at most; `/history` 1 to 1,000 and 100 when not given, `/failures` 1 to 50 and 20, `/outages` 1 to 200 and 50.
    limit: Option<u32>,
    /// What `next_cursor` gave.
    cursor: Option<String>,
}

impl PastQuery {
    /// How many, and from before when.
    fn read(&self, (usual, most): (u32, u32), now: Timestamp) -> Result<(u32, Timestamp), ApiError> {
        let limit = match self.limit {
            None => usual,
            Some(n) if (1..=most).contains(&n) => n,
            Some(n) => return Err(ApiError::bad_request(&format!("limit is {n}: write 1 to {most}"))),
        };
        let before = match after(self.cursor.as_deref())? {
            // What began in this very moment is there, too.
            None => now + Duration::from_secs(1),
            Some(text) => text
                .parse()
                .map(Timestamp::from_micros)
                .map_err(|_| ApiError::bad_request("cursor is not one: send back what `next_cursor` gave"))?,
        };
        Ok((limit, before))
    }
}

fn page<T: ToSchema, R>(mut rows: Vec<R>, limit: u32, at: impl Fn(&R) -> Timestamp, info: impl Fn(R) -> T) -> Page<T> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor(&at(row).as_micros().to_string()));
    Page { items: rows.into_iter().map(info).collect(), next_cursor }
}

/// A run, as it is kept of every one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunInfo {
    /// When it began, to the millisecond.
    at: Time,
    /// `up`, `degraded`, `down` or `unknown`.
    outcome: &'static str,
    /// Why not up.
    reason: Option<&'static str>,
    /// Whether it was made during maintenance.
    maintenance: bool,
    /// How long after its slot it began, in milliseconds.
    start_lag_ms: u64,
    /// How long its phases took.
    phases: PhasesInfo,
}

/// What a failed run found, whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailureInfo {
    /// What it found.
    observation: ObservationInfo,
    /// What it did, line by line.
    transcript: String,
}

/// A time of not working.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutageInfo {
    /// Its id, which is that of its alert.
    id: String,
    /// The first failure.
    began_at: Time,
    /// The first success; `null` while it goes on.
    ended_at: Option<Time>,
    /// When somebody was told; `null`: nobody was, and there is no alert.
    opened_at: Option<Time>,
    /// Whether the check flapped.
    flapping: bool,
    /// Why nobody was told: `maintenance`, or the parent's name.
    held_by: Option<String>,
}

/// How long a check was what. Of what nobody measured nothing is claimed: it lowers the coverage, not the uptime.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpentInfo {
    /// Share of the measured time in which it worked, in percent, cut after three places; `null` without data. Degraded
    /// counts as working.
    uptime_percent: Option<f64>,
    /// Share of the time outside maintenance that was measured; `null` when there was no such time.
    coverage_percent: Option<f64>,
    /// Both in words, as in `99.95 % of 98.7 % observed`.
    shown: String,
    /// Seconds in which it worked.
    up_s: f64,
    /// Seconds in which it worked, but not as it should.
    degraded_s: f64,
    /// Seconds in which it did not work.
    down_s: f64,
    /// Seconds of which nobody can say.
    unknown_s: f64,
    /// Seconds of planned maintenance, which count on neither side.
    maintenance_s: f64,
}

/// A change of what a check counts as.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlipInfo {
    /// Since when.
    at: Time,
    /// `up`, `degraded`, `down`, `unknown`, `maintenance` or `paused`.
    counts_as: &'static str,
}

/// How much of a time a check was up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UptimeInfo {
    /// The time's beginning.
    from: Time,
    /// Its end.
    until: Time,
    /// Up to when anything is known.
    known_until: Time,
    /// How long it was what.
    spent: SpentInfo,
    /// Its changes, oldest first; at most the newest 500.
    changes: Vec<FlipInfo>,
    /// How many more there were.
    changes_left_out: usize,
}

/// Uptime by day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DaysInfo {
    /// The zone of the days.
    zone: String,
    /// The days, today last.
    days: Vec<DayInfo>,
}

/// A calendar day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DayInfo {
    /// Its date in that zone, as in `2026-05-07`.
    date: String,
    /// Its first moment.
    from: Time,
    /// Its end, or the present for today.
    until: Time,
    /// How long the check was what.
    spent: SpentInfo,
}

/// A span.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UptimeQuery {
    /// RFC 3339, or before now as in `-30d`; thirty days before `until` when not given.
    from: Option<String>,
    /// The same; now when not given.
    until: Option<String>,
}

/// Which days.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DaysQuery {
    /// How many, 1 to 400; 30 when not given.
    days: Option<u16>,
    /// An IANA name such as `Europe/Berlin`; UTC when not given.
    zone: Option<String>,
}

/// Runs of a check, newest first; those of the last seven days are kept.
#[utoipa::path(get, path = "/api/v1/checks/{name}/history", tag = "checks", params(PastQuery, ("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "A page of runs.", body = Page<RunInfo>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    (status = 404, description = "No check of that name.", body = ErrorBody)))]
pub(crate) async fn history(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(name): Named,
    Asked(query): Asked<PastQuery>,
) -> Result<Json<Page<RunInfo>>, ApiError> {
    let check = found(&web, &reach, &name).await?.check;
    let (limit, before) = query.read(RUNS, web.engine.now())?;
    // As far back as so many runs reach; if there were gaps, as far as runs are kept.
    let reaching = check.interval * (limit + 1) * 2 + ROW;
    let mut runs = web.engine.check_history(&name, before - reaching, before).await?;
    if runs.len() <= limit as usize {
        runs = web.engine.check_history(&name, Timestamp::UNIX_EPOCH, before).await?;
    }
    let surplus = runs.len().saturating_sub(limit as usize + 1);
    runs.drain(..surplus);
    runs.reverse();
    Ok(Json(page(runs, limit, |run| run.at, run_info)))
}

pub(crate) fn run_info(run: Run) -> RunInfo {
    RunInfo {
        at: run.at.into(),
        outcome: run.outcome.name(),
        reason: run.reason.map(|reason| reason.name()),
        maintenance: run.maintenance,
        start_lag_ms: run.lag_ms,
        phases: phases(&run.phases),
    }
}

/// What failed runs of a check found, whole, newest first; kept for 90 days. Of a failure that goes on unchanged one in ten
/// minutes is kept.
#[utoipa::path(get, path = "/api/v1/checks/{name}/failures", tag = "checks", params(PastQuery, ("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "A page of failures.", body = Page<FailureInfo>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    (status = 404, description = "No check of that name.", body = ErrorBody)))]
pub(crate) async fn failures(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(name): Named,
    Asked(query): Asked<PastQuery>,
) -> Result<Json<Page<FailureInfo>>, ApiError> {
    found(&web, &reach, &name).await?;
    let (limit, before) = query.read(FAILURES, web.engine.now())?;
    let failures = web.engine.check_failures(&name, before, limit + 1).await?;
    let at = |failure: &dynowatch_store::checks::Failure| failure.observation.started_at;
    Ok(Json(page(failures, limit, at, |failure| FailureInfo {
        observation: observation(&web, &failure.observation),
        transcript: masked(&web.engine, &failure.transcript),
    })))
}

/// Outages of a check, newest first, those that nobody was told of among them.
#[utoipa::path(get, path = "/api/v1/checks/{name}/outages", tag = "checks", params(PastQuery, ("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "A page of outages.", body = Page<OutageInfo>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    (status = 404, description = "No check of that name.", body = ErrorBody)))]
pub(crate) async fn outages(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(name): Named,
    Asked(query): Asked<PastQuery>,
) -> Result<Json<Page<OutageInfo>>, ApiError> {
    found(&web, &reach, &name).await?;
    let (limit, before) = query.read(OUTAGES, web.engine.now())?;
    let outages = web.engine.check_outages(&name, before, limit + 1).await?;
    Ok(Json(page(
        outages,
        limit,
        |outage| outage.began_at,
        |outage| OutageInfo {
            id: outage.id.to_string(),
            began_at: outage.began_at.into(),
            ended_at: outage.ended_at.map(Time),
            opened_at: outage.opened_at.map(Time),
            flapping: outage.flapping,
            held_by: outage.held.as_ref().map(held_by),
        },
    )))
}

/// How much of a time a check was up, weighted by time, and how much of that time was measured at all.
#[utoipa::path(get, path = "/api/v1/checks/{name}/uptime", tag = "checks", params(UptimeQuery, ("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "Its uptime.", body = UptimeInfo),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    (status = 404, description = "No check of that name.", body = ErrorBody)))]
pub(crate) async fn uptime(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(name): Named,
    Asked(query): Asked<UptimeQuery>,
) -> Result<Json<UptimeInfo>, ApiError> {
    found(&web, &reach, &name).await?;
    let (from, until) = span(query.from.as_deref(), query.until.as_deref(), SPAN, web.engine.now())?;
    if until.since(from) > SPAN_MAX {
        return Err(ApiError::bad_request("the span is longer than 800 days: ask for a shorter one"));
    }
    let found = web.engine.check_uptime(&name, from, until).await?;
    let changes_left_out = found.flips.len().saturating_sub(FLIPS_MAX);
    let changes = found.flips.iter().skip(changes_left_out);
    Ok(Json(UptimeInfo {
        from: from.into(),
        until: until.into(),
        known_until: found.known_until.into(),
        spent: spent(&found.spent),
        changes: changes.map(|flip| FlipInfo { at: flip.at.into(), counts_as: flip.standing.as_str() }).collect(),
        changes_left_out,
    }))
}

/// The last days of a check in a zone. A day has 23 to 25 hours.
#[utoipa::path(get, path = "/api/v1/checks/{name}/days", tag = "checks", params(DaysQuery, ("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "Its days, today last.", body = DaysInfo),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    (status = 404, description = "No check of that name.", body = ErrorBody)))]
pub(crate) async fn days(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(name): Named,
    Asked(query): Asked<DaysQuery>,
) -> Result<Json<DaysInfo>, ApiError> {
    found(&web, &reach, &name).await?;
    let (usual, most) = DAYS;
    let count = query.days.unwrap_or(usual);
    if !(1..=most).contains(&count) {
        return Err(ApiError::bad_request(&format!("days is {count}: write 1 to {most}")));
    }
    let (zone_name, zone) = zone(query.zone.as_deref())?;
    let days = web.engine.check_days(&name, &zone, count).await?;
    let day = |day: dynowatch_domain::check::uptime::Day| DayInfo {
        date: day.date.to_string(),
        from: day.from.into(),
        until: day.until.into(),
        spent: spent(&day.spent),
    };
    Ok(Json(DaysInfo { zone: zone_name, days: days.into_iter().map(day).collect() }))
}

/// The zone that a request names, and what it is called.
pub(crate) fn zone(name: Option<&str>) -> Result<(String, jiff::tz::TimeZone), ApiError> {
    let name = name.unwrap_or("UTC");
    let wrong =
        || ApiError::bad_request(&format!("zone is {name:?}: write an IANA name such as Europe/Berlin, or UTC"));
    let zone = Zone::named(name).ok_or_else(wrong)?;
    Ok((zone.name().to_owned(), dynowatch_domain::zone::named(name).ok_or_else(wrong)?))
}

fn spent(spent: &Spent) -> SpentInfo {
    // Cut as a text is, so that 99.9999 does not become 100.
    let number = |percent: Option<dynowatch_domain::check::uptime::Percent>| {
        percent.and_then(|percent| percent.to_string().trim_end_matches(" %").parse().ok())
    };
    #[expect(clippy::cast_precision_loss, reason = "seconds for people and graphs")]
    let seconds = |micros: u64| micros as f64 / 1e6;
    SpentInfo {
        uptime_percent: number(spent.uptime(3)),
        coverage_percent: number(spent.coverage(3)),
        shown: spent.show(),
        up_s: seconds(spent.up_us),
        degraded_s: seconds(spent.degraded_us),
        down_s: seconds(spent.down_us),
        unknown_s: seconds(spent.unknown_us),
        maintenance_s: seconds(spent.maintenance_us),
    }
}
