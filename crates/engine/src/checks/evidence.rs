//! What is known beside a check when it fails: what the app's drain said lately, and how the app's other checks stand. From
//! the store, so that it does not matter which process takes the drain in, or whether this one has just begun; of the last
//! ten seconds, what was flushed. What it means is said by `domain::check::diagnosis`.
//!
//! When everything fails at once the store is asked once for each app, and for no longer than two seconds for all that is
//! settled together: a message is worth more than its diagnosis.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use dynowatch_domain::check::diagnosis::{self, Active, Drain, Passive, Siblings};
use dynowatch_domain::check::observation::Observation;
use dynowatch_domain::check::{Check, CheckKind};
use dynowatch_domain::metric::{SLOT, SeriesQuery};
use dynowatch_domain::signal::Code;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::StoreError;
use tokio::time::Instant;

use super::CheckStatus;
use crate::Engine;
use crate::apps::lock;
use crate::metrics::Asked;

/// How far back "lately" reaches, and the time before it.
const LATELY: Duration = Duration::from_secs(300);
/// Slots of ten seconds in it.
const SLOTS: usize = 30;
/// The most codes that are looked at.
const CODES_MAX: usize = 50;
/// When nobody looked for longer than this, silence says nothing.
const BLIND_MAX: Duration = Duration::from_secs(60);
/// Messages do not wait longer for their diagnosis.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(2);
/// What a drain said is asked again after this long.
const KEPT: Duration = Duration::from_secs(10);

/// What drains said a moment ago, by app; that one said nothing is kept as well.
#[derive(Default)]
pub(crate) struct Heard(Mutex<HashMap<AppId, (Timestamp, Option<Drain>)>>);

impl Heard {
    fn get(&self, app: AppId, now: Timestamp) -> Option<Option<Drain>> {
        let mut heard = lock(&self.0);
        heard.retain(|_, (at, _)| *at <= now && now.since(*at) < KEPT);
        heard.get(&app).map(|(_, drain)| drain.clone())
    }

    fn keep(&self, app: AppId, now: Timestamp, drain: Option<Drain>) {
        lock(&self.0).insert(app, (now, drain));
    }
}

impl Engine {
    /// The line of diagnosis on what a run found; empty where nothing can be said. Waits until then at most.
    pub(crate) async fn diagnose(
        &self,
        check: &Check,
        app: Option<AppId>,
        observation: &Observation,
        until: Instant,
    ) -> String {
        let drain = match app.filter(|_| check.app.is_some() && is_of_traffic(check)) {
            Some(app) => self.drain_heard(app, until).await,
            None => None,
        };
        let passive = Passive { drain, siblings: self.siblings(check) };
        diagnosis::line(Active { outcome: observation.outcome, reason: observation.reason }, &passive)
    }

    async fn drain_heard(&self, app: AppId, until: Instant) -> Option<Drain> {
        let (heard, now) = (&self.shared.checks.heard, self.now());
        if let Some(known) = heard.get(app, now) {
            return known;
        }
        if Instant::now() >= until {
            return None;
        }
        // A store that is away costs the line, not the message.
        let asked = tokio::time::timeout_at(until, self.drain_lately(app, now)).await;
        let drain = asked.ok().and_then(Result::ok).flatten();
        heard.keep(app, now, drain.clone());
        drain
    }

    /// The last run of a check beside what is known from elsewhere, in a sentence; empty when nothing can be said.
    pub async fn check_diagnosis(&self, status: &CheckStatus) -> String {
        let Some(last) = status.row.as_ref().and_then(|row| row.last.as_ref()) else { return String::new() };
        let app = status.check.app.as_deref().and_then(|name| self.apps().by_name(name).map(|app| app.id));
        Box::pin(self.diagnose(&status.check, app, last, Instant::now() + WAIT_MAX)).await
    }

    /// What an app's drain said lately, to whichever process. `None`: it never said anything, or nobody listened.
    async fn drain_lately(&self, app: AppId, now: Timestamp) -> Result<Option<Drain>, StoreError> {
        let until = now.floor(SLOT) + SLOT;
        let from = until - LATELY - LATELY;
        let of = |metric| {
            let mut query = SeriesQuery::new(metric, from, until, SLOT);
            query.by.label = metric != "app.lines";
            query
        };
        let asked = self.series_all(app, &[of("app.lines"), of("router.requests"), of("platform.errors")]).await?;
        let [lines, requests, errors] = asked.as_slice() else { return Ok(None) };
        let blind: Duration = lines.blind.iter().map(|(a, b)| (*b).min(now).since((*a).max(until - LATELY))).sum();
        if blind > BLIND_MAX {
            return Ok(None);
        }
        let Some(newest_at) = self.newest_line(app, lines, from).await? else { return Ok(None) };
        let served = totals(requests);
        let lately =
            |of: &dyn Fn(&str) -> bool| served.iter().filter(|(label, _)| of(label)).map(|(_, (_, n))| n).sum();
        let codes = totals(errors).into_iter().filter_map(|(code, (before, now))| Some((code_of(&code)?, now, before)));
        Ok(Some(Drain {
            window: LATELY,
            silent_for: now.since(newest_at),
            requests: lately(&|_| true),
            failed: lately(&|label| label.starts_with('5')),
            codes: codes.take(CODES_MAX).collect(),
        }))
    }

    /// When the newest line came: to ten seconds, if it was lately.
    async fn newest_line(&self, app: AppId, lines: &Asked, from: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let seen = |points: &Vec<Option<f64>>| points.iter().rposition(|point| point.is_some_and(|n| n > 0.0));
        let slot = lines.answer.series.iter().filter_map(|series| seen(&series.points)).max();
        let here = self.apps().by_id(app).map(|app| (app.name.clone(), lock(&app.live.totals).newest_at));
        let of_slot =
            slot.and_then(|slot| u32::try_from(slot + 1).ok()).map(|slots| (from + SLOT * slots).min(self.now()));
        let here_at = here.as_ref().map(|(_, at)| *at).filter(|at| *at > Timestamp::UNIX_EPOCH);
        if let Some(at) = of_slot.max(here_at).filter(|at| *at >= from) {
            return Ok(Some(at));
        }
        // Longer ago than what was looked at: as each process notes it now and then.
        let stored = match here {
            Some((name, _)) => self.store().app_by_name(&name).await?.and_then(|app| app.last_line_at),
            None => None,
        };
        Ok(stored.max(here_at))
    }

    /// The checks of the same app, whoever runs them, and how many fail.
    fn siblings(&self, check: &Check) -> Siblings {
        let Some(app) = &check.app else { return Siblings::default() };
        let mut found = Siblings::default();
        let failing = lock(&self.shared.checks.failing);
        for other in self.shared.checks.book.load().checks.values() {
            if other.app.as_ref() == Some(app) && other.name != check.name {
                found.of += 1;
                found.failing += u32::from(failing.contains(&other.name));
            }
        }
        found
    }
}

/// Whether the drain's requests say something of what this check looks at.
fn is_of_traffic(check: &Check) -> bool {
    matches!(check.kind, CheckKind::Web(_) | CheckKind::Tcp(_) | CheckKind::Tls(_) | CheckKind::Dns(_))
}

/// By label: how many in the time before, and lately.
fn totals(asked: &Asked) -> BTreeMap<String, (u64, u64)> {
    let mut totals: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for series in &asked.answer.series {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts, which are whole and not negative"
        )]
        let sum = |points: &[Option<f64>]| points.iter().flatten().sum::<f64>() as u64;
        let (before, lately) = series.points.split_at(SLOTS.min(series.points.len()));
        let of_label = totals.entry(series.label.clone()).or_default();
        of_label.0 += sum(before);
        of_label.1 += sum(lately);
    }
    totals
}

/// `H12`.
fn code_of(text: &str) -> Option<Code> {
    let letter = *text.as_bytes().first()?;
    Code::new(letter, text.get(1..)?.parse().ok()?)
}
