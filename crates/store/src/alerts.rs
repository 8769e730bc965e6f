//! Alerts as people see them: lists, one alert with its proof, counts. Written by [`crate::evaluate`] alone.
//!
//! An alert has a row from the moment it fires. While it is open, the newest numbers are in its key's track, and lists
//! take them from there; a key that is pending has no row yet and is listed from its track.

use dynowatch_domain::alert::{Effect, Facts, Phase, ResolveReason, Track};
use dynowatch_domain::evidence::EvidenceLine;
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::rule::Severity;
use dynowatch_domain::{AlertId, AppId, Timestamp};
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::{CALL_MAX, Db, read, within};
use crate::deliveries::{Delivery, DeliveryFilter};
use crate::error::{Result, StoreError};
use crate::evaluate::AlertDetails;
use crate::open::Store;
use crate::text::{count, time, word};

/// The most decisions and the most deliveries of one alert that are read, the newest.
const PER_ALERT_MAX: u32 = 1_000;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Its condition holds, but not for long enough yet.
    Pending,
    /// It is open.
    Firing,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// The name used in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Pending, Self::Firing, Self::Resolved].into_iter().find(|state| state.as_str() == name)
    }
}

/// An alert in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    /// Its id; none while it is pending.
    pub id: Option<AlertId>,
    /// Its key.
    pub key: Key,
    /// The app's name today.
    pub app_name: String,
    /// Where it stands.
    pub state: AlertState,
    /// How urgent; not known while it is pending.
    pub severity: Option<Severity>,
    /// When it fired, or since when it is pending.
    pub since: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// Why it is over.
    pub resolve_reason: Option<ResolveReason>,
    /// Its newest numbers.
    pub facts: Facts,
    /// Whether anyone was told, or is to be told.
    pub told: bool,
    /// The alert of the same key before it.
    pub previous: Option<AlertId>,
    /// What else its page says, as of when it fired.
    pub details: AlertDetails,
}

/// An alert with its proof.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// As in a list.
    pub row: AlertRow,
    /// The lines it rests on, byte for byte.
    pub evidence: Vec<EvidenceLine>,
    /// What was decided, when and why; at most 1,000, the newest.
    pub decisions: Vec<(Timestamp, Effect)>,
    /// Its messages, newest first; at most 1,000.
    pub deliveries: Vec<Delivery>,
}

/// Where a page of a list ends: the next one begins after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertCursor {
    /// The last row's [`AlertRow::since`].
    pub fired_at: Timestamp,
    /// The last row's id.
    pub id: AlertId,
}

/// Which alerts to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// Only in this state. Pending ones come before all others, on the first page only and beside its limit.
    pub state: Option<AlertState>,
    /// Only of this app.
    pub app: Option<AppId>,
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only of this severity; leaves out those that are pending, whose severity is not known.
    pub severity: Option<Severity>,
    /// Only those that fired at this moment or later, or are pending.
    pub since: Option<Timestamp>,
    /// Only those before this.
    pub before: Option<AlertCursor>,
    /// How many at most.
    pub limit: u32,
}

/// How many alerts are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlertCounts {
    /// Keys whose condition holds, but not for long enough yet.
    pub pending: u64,
    /// Open alerts.
    pub firing: u64,
    /// Alerts that are over and still kept.
    pub resolved: u64,
}

const COLUMNS: &str = "SELECT a.id, a.app_id, p.name, a.rule, a.grp, a.severity, a.fired_at, a.resolved_at, a.resolve_reason, a.previous_id, a.told, \
                       a.facts, a.details, t.track FROM alerts AS a JOIN apps AS p ON p.id = a.app_id LEFT JOIN tracks AS t ON t.alert_id = a.id";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    app_id: Uuid,
    name: String,
    rule: String,
    grp: String,
    severity: String,
    fired_at: i64,
    resolved_at: Option<i64>,
    resolve_reason: Option<Json<ResolveReason>>,
    previous_id: Option<Uuid>,
    told: bool,
    facts: Json<Facts>,
    details: Json<AlertDetails>,
    track: Option<Json<Track>>,
}

impl Row {
    fn read(self) -> Result<AlertRow> {
        let open = self.track.as_ref().filter(|_| self.resolved_at.is_none()).and_then(|Json(track)| track.firing());
        let (facts, told) = open.map_or((self.facts.0, self.told), |firing| (firing.facts.clone(), firing.told));
        Ok(AlertRow {
            id: Some(AlertId(self.id)),
            key: Key { app: AppId(self.app_id), rule: self.rule, group: Group(self.grp) },
            app_name: self.name,
            state: if self.resolved_at.is_some() { AlertState::Resolved } else { AlertState::Firing },
            severity: Some(word("a severity", &self.severity, |name| {
                Severity::ALL.into_iter().find(|s| s.as_str() == name)
            })?),
            since: time(self.fired_at),
            resolved_at: self.resolved_at.map(time),
            resolve_reason: self.resolve_reason.map(|Json(reason)| reason),
            facts,
            told,
            previous: self.previous_id.map(AlertId),
            details: self.details.0,
        })
    }
}

impl Store {
    /// The alerts of an app that fired between two moments, the newest first, at most 1,000: id, when, rule, severity.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn alerts_fired_between(
        &self,
        app: AppId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(AlertId, Timestamp, String, String)>> {
        let sql = "SELECT id, fired_at, rule, severity FROM alerts WHERE app_id = $1 AND fired_at >= $2 AND fired_at < $3 \
                   ORDER BY fired_at DESC LIMIT 1000";
        let (from, until) = (from.as_micros(), until.as_micros());
        let rows: Vec<(Uuid, i64, String, String)> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(app.0).bind(from).bind(until).fetch_all(pool))?;
        Ok(rows.into_iter().map(|(id, at, rule, severity)| (AlertId(id), time(at), rule, severity)).collect())
    }

    /// Alerts, newest first, with their newest numbers.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn alerts(&self, filter: &AlertFilter) -> Result<Vec<AlertRow>> {
        self.fold_to_read().await;
        let mut alerts = match (filter.state, filter.before) {
            (None | Some(AlertState::Pending), None) if filter.severity.is_none() => {
                self.pending_alerts(filter).await?
            }
            _ => Vec::new(),
        };
        if filter.state == Some(AlertState::Pending) {
            return Ok(alerts);
        }
        macro_rules! fetch {
            ($engine:ty, $pool:expr) => {{
                let mut query = QueryBuilder::<$engine>::new(COLUMNS);
                query.push(" WHERE 1 = 1");
                match filter.state {
                    Some(AlertState::Firing) => query.push(" AND a.resolved_at IS NULL"),
                    Some(AlertState::Resolved) => query.push(" AND a.resolved_at IS NOT NULL"),
                    Some(AlertState::Pending) | None => &mut query,
                };
                if let Some(app) = filter.app {
                    query.push(" AND a.app_id = ").push_bind(app.0);
                }
                if let Some(rule) = &filter.rule {
                    query.push(" AND a.rule = ").push_bind(rule.as_str());
                }
                if let Some(severity) = filter.severity {
                    query.push(" AND a.severity = ").push_bind(severity.as_str());
                }
                if let Some(since) = filter.since {
                    query.push(" AND a.fired_at >= ").push_bind(since.as_micros());
                }
                if let Some(before) = filter.before {
                    query
                        .push(" AND (a.fired_at, a.id) < (")
                        .push_bind(before.fired_at.as_micros())
                        .push(", ")
                        .push_bind(before.id.0)
                        .push(")");
                }
                query.push(" ORDER BY a.fired_at DESC, a.id DESC LIMIT ").push_bind(i64::from(filter.limit));
                query.build_query_as::<Row>().fetch_all($pool).await?
            }};
        }
        let rows = within(CALL_MAX, async {
            Ok(match &self.state {
                Db::Lite { r, .. } => fetch!(sqlx::Sqlite, r),
                Db::Pg(pool) => fetch!(sqlx::Postgres, pool),
            })
        })
        .await?;
        for row in rows {
            alerts.push(row.read()?);
        }
        Ok(alerts)
    }

    async fn pending_alerts(&self, filter: &AlertFilter) -> Result<Vec<AlertRow>> {
        type Row = (Uuid, String, String, String, Json<Track>);
        let sql = "SELECT t.app_id, p.name, t.rule, t.grp, t.track FROM tracks AS t JOIN apps AS p ON p.id = t.app_id \
                   WHERE t.phase = 'pending' ORDER BY t.app_id, t.rule, t.grp LIMIT $1";
        let rows: Vec<Row> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(i64::from(PER_ALERT_MAX)).fetch_all(pool))?;
        let wanted = |row: &Row| {
            filter.app.is_none_or(|app| app.0 == row.0) && filter.rule.as_ref().is_none_or(|rule| *rule == row.2)
        };
        let mut alerts: Vec<AlertRow> =
            rows.into_iter().filter(wanted).filter_map(|row| pending(row.0, row.1, row.2, row.3, row.4.0)).collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.since));
        alerts.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
        Ok(alerts)
    }

    /// One alert with its proof.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is away.
    pub async fn alert(&self, id: AlertId) -> Result<Alert> {
        const ONE: &str = "SELECT a.id, a.app_id, p.name, a.rule, a.grp, a.severity, a.fired_at, a.resolved_at, a.resolve_reason, a.previous_id, \
                           a.told, a.facts, a.details, t.track FROM alerts AS a JOIN apps AS p ON p.id = a.app_id \
                           LEFT JOIN tracks AS t ON t.alert_id = a.id WHERE a.id = $1";
        const EVIDENCE: &str = "SELECT evidence FROM alerts WHERE id = $1";
        const DECISIONS: &str = "SELECT at, effect FROM decisions WHERE alert_id = $1 ORDER BY number DESC LIMIT $2";
        self.fold_to_read().await;
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(ONE).bind(id.0).fetch_optional(pool))?;
        let row = row.ok_or_else(|| StoreError::NotFound(format!("alert {id}")))?.read()?;
        let evidence: Option<Json<Vec<EvidenceLine>>> =
            read!(&self.state, |pool| sqlx::query_scalar(EVIDENCE).bind(id.0).fetch_optional(pool))?;
        let limit = i64::from(PER_ALERT_MAX);
        let rows: Vec<(i64, Json<Effect>)> =
            read!(&self.state, |pool| sqlx::query_as(DECISIONS).bind(id.0).bind(limit).fetch_all(pool))?;
        let decisions = rows.into_iter().rev().map(|(at, Json(effect))| (time(at), effect)).collect();
        let deliveries = self
            .deliveries(&DeliveryFilter { alert: Some(id), limit: PER_ALERT_MAX, ..DeliveryFilter::default() })
            .await?;
        Ok(Alert { row, evidence: evidence.map(|Json(lines)| lines).unwrap_or_default(), decisions, deliveries })
    }

    /// The key that is open (pending or firing) for this rule, app and group, as `alerts resolve` is given it; `None` when
    /// nothing is.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn find_open_by_key(
        &self,
        rule: &str,
        app_name: &str,
        group: &str,
    ) -> Result<Option<(Key, Option<AlertId>)>> {
        let sql = "SELECT t.app_id, t.alert_id FROM tracks AS t JOIN apps AS p ON p.id = t.app_id \
                   WHERE t.rule = $1 AND p.name = $2 AND t.grp = $3 AND t.phase <> 'quiet'";
        let row: Option<(Uuid, Option<Uuid>)> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(rule).bind(app_name).bind(group).fetch_optional(pool))?;
        Ok(row.map(|(app, alert)| {
            (Key { app: AppId(app), rule: rule.to_owned(), group: Group(group.to_owned()) }, alert.map(AlertId))
        }))
    }

    /// How many alerts are in each state.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn alert_counts(&self) -> Result<AlertCounts> {
        let sql = "SELECT (SELECT COUNT(*) FROM tracks WHERE phase <> 'quiet' AND phase = 'pending'), \
                   (SELECT COUNT(*) FROM tracks WHERE phase <> 'quiet' AND phase = 'firing'), \
                   (SELECT COUNT(*) FROM alerts WHERE resolved_at IS NOT NULL)";
        let (pending, firing, resolved): (i64, i64, i64) =
            read!(&self.state, |pool| sqlx::query_as(sql).fetch_one(pool))?;
        Ok(AlertCounts { pending: count(pending), firing: count(firing), resolved: count(resolved) })
    }
}

fn pending(app: Uuid, app_name: String, rule: String, group: String, track: Track) -> Option<AlertRow> {
    let previous = track.previous;
    let Phase::Pending { since, facts, .. } = track.phase else {
        return None;
    };
    let details = AlertDetails { app_name: app_name.clone(), ..AlertDetails::default() };
    Some(AlertRow {
        id: None,
        key: Key { app: AppId(app), rule, group: Group(group) },
        app_name,
        state: AlertState::Pending,
        severity: None,
        since,
        resolved_at: None,
        resolve_reason: None,
        facts,
        told: false,
        previous,
        details,
    })
}
