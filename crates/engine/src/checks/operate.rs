//! What operators, pages and jobs ask of checks. The CLI, the API and the console say the same things through here.

use std::sync::Arc;

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::check::heartbeat::Ping;
use dynowatch_domain::check::run::Run;
use dynowatch_domain::check::schedule::{GAP_INTERVALS, Grid};
use dynowatch_domain::check::uptime::{self, Day, Flip, Spent};
use dynowatch_domain::check::{Check, CheckKind};
use dynowatch_store::StoreError;
use dynowatch_store::checks::{CheckRow, Failure, OutageRow, Paused};
use jiff::tz::TimeZone;

use super::CheckBook;
use crate::Engine;

/// A check and how it stands.
#[derive(Debug, Clone)]
pub struct CheckStatus {
    /// What it is.
    pub check: Arc<Check>,
    /// How it stands, as of its last writing; none before its first.
    pub row: Option<CheckRow>,
}

impl CheckStatus {
    /// Up to when anything is known of it.
    #[must_use]
    pub fn known_until(&self, now: Timestamp) -> Timestamp {
        self.row.as_ref().map_or(now, |row| known_until(&self.check, row, now))
    }
}

/// How much of a time a check was up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckUptime {
    /// From when on it counted as what: the last flip before the time, and those in it.
    pub flips: Vec<Flip>,
    /// Up to when anything is known.
    pub known_until: Timestamp,
    /// The whole time.
    pub spent: Spent,
}

/// What was asked of a check and cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CheckProblem {
    /// No check of that name.
    #[error("no check is named {name:?}; `dynowatch checks list` shows all")]
    NoCheck {
        /// The name.
        name: String,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// The checks, windows and control targets in force.
    #[must_use]
    pub fn check_book(&self) -> Arc<CheckBook> {
        self.shared.checks.book.load_full()
    }

    /// Since when this process has been blind, if it is.
    #[must_use]
    pub fn blind_since(&self) -> Option<Timestamp> {
        self.shared.checks.control.since()
    }

    /// Checks that are due and wait for room, in this process.
    #[must_use]
    pub fn checks_waiting(&self) -> usize {
        crate::apps::lock(&self.shared.checks.board).waits()
    }

    /// Checks that this process runs, and slots that it missed since it began.
    #[must_use]
    pub fn checks_run_here(&self) -> (usize, u64) {
        crate::apps::lock(&self.shared.checks.board).counts()
    }

    /// When a check is due next, or the next word of its job. `None` while it is paused or nobody knows it yet.
    #[must_use]
    pub fn next_check_run(&self, status: &CheckStatus) -> Option<Timestamp> {
        let CheckStatus { check, row } = status;
        let row = row.as_ref().filter(|row| row.paused.is_none() && !check.paused)?;
        match &check.kind {
            CheckKind::Heartbeat(heartbeat) => heartbeat.judge(&row.heartbeat, self.now()).look_at,
            _ => {
                let interval = row.state.interval(check.interval, check.suspect_interval());
                Some(Grid::new(row.number, interval).after(self.now()))
            }
        }
    }

    fn check_named(&self, name: &str) -> Result<Arc<Check>, CheckProblem> {
        let found = self.check_book().checks.get(name).cloned();
        found.ok_or_else(|| CheckProblem::NoCheck { name: name.to_owned() })
    }

    /// Every check in force, by name, and how it stands.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn check_statuses(&self) -> Result<Vec<CheckStatus>, StoreError> {
        let mut rows: std::collections::HashMap<String, CheckRow> =
            self.store().check_rows().await?.into_iter().map(|row| (row.name.clone(), row)).collect();
        let book = self.check_book();
        let status = |check: &Arc<Check>| CheckStatus { check: Arc::clone(check), row: rows.remove(&check.name) };
        Ok(book.checks.values().map(status).collect())
    }

    /// One check and how it stands.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn check_status(&self, name: &str) -> Result<CheckStatus, CheckProblem> {
        let check = self.check_named(name)?;
        let row = self.store().check_row(name).await?;
        Ok(CheckStatus { check, row })
    }

    /// How much of a time a check was up.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn check_uptime(
        &self,
        name: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<CheckUptime, CheckProblem> {
        let CheckStatus { check, row } = self.check_status(name).await?;
        let now = self.now();
        let Some(row) = row else {
            return Ok(CheckUptime { flips: Vec::new(), known_until: now, spent: Spent::default() });
        };
        let flips = self.store().check_flips(row.number, from, until).await?;
        let known_until = known_until(&check, &row, now);
        let spent = uptime::spent(&flips, known_until, from, until.min(now));
        Ok(CheckUptime { flips, known_until, spent })
    }

    /// The last days of a check in a zone, today last.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn check_days(&self, name: &str, zone: &TimeZone, count: u16) -> Result<Vec<Day>, CheckProblem> {
        let now = self.now();
        let from = now - std::time::Duration::from_secs(u64::from(count).saturating_add(1) * 90_000);
        let CheckUptime { flips, known_until, .. } = self.check_uptime(name, from, now).await?;
        Ok(uptime::days(&flips, known_until, zone, now, count))
    }

    /// Runs of a check in `[from, until)`, oldest first; the last seven days are kept.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn check_history(&self, name: &str, from: Timestamp, until: Timestamp) -> Result<Vec<Run>, CheckProblem> {
        let Some(row) = self.check_status(name).await?.row else { return Ok(Vec::new()) };
        Ok(self.store().check_runs(row.number, from, until).await?)
    }

    /// What failed runs of a check found, newest first, that began before `before`; the last 90 days are kept.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn check_failures(
        &self,
        name: &str,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Failure>, CheckProblem> {
        let Some(row) = self.check_status(name).await?.row else { return Ok(Vec::new()) };
        Ok(self.store().check_failures(row.number, before, limit).await?)
    }

    /// Outages of a check, newest first, those that nobody was told of among them.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn check_outages(
        &self,
        name: &str,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutageRow>, CheckProblem> {
        let Some(row) = self.check_status(name).await?.row else { return Ok(Vec::new()) };
        Ok(self.store().check_outages(row.number, before, limit).await?)
    }

    /// Switches a check off until it is switched on again. What is open under it is closed without a word within a few
    /// seconds. Returns whether it was on.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn pause_check(&self, name: &str, by: &Actor) -> Result<bool, CheckProblem> {
        self.check_named(name)?;
        let now = self.now();
        let paused = Paused { at: now, by: by.name.clone() };
        let changed = self.store().pause_check(name, Some(&paused), &by.did("check.pause", name), now).await?;
        self.hurry_checks();
        Ok(changed)
    }

    /// Switches a check on again. Returns whether it was off.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn resume_check(&self, name: &str, by: &Actor) -> Result<bool, CheckProblem> {
        self.check_named(name)?;
        let changed = self.store().pause_check(name, None, &by.did("check.resume", name), self.now()).await?;
        self.hurry_checks();
        Ok(changed)
    }

    /// Has a check run at once, besides its schedule, by whichever process runs it.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn ask_check_run(&self, name: &str, by: &Actor) -> Result<(), CheckProblem> {
        self.check_named(name)?;
        self.store().ask_check_run(name, &by.did("check.run", name), self.now()).await?;
        self.hurry_checks();
        Ok(())
    }

    /// Accepts the key that a check's server offers instead of the one that was pinned.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn accept_check_pin(&self, name: &str, by: &Actor) -> Result<(), CheckProblem> {
        self.check_named(name)?;
        self.store().ask_check_pin(name, &by.did("check.pin", name), self.now()).await?;
        self.hurry_checks();
        Ok(())
    }

    /// Takes a ping in. Returns the check's name; `None`: no check in force has that token.
    ///
    /// # Errors
    /// When the store does not answer: the job was not heard, and may try again.
    pub async fn ping(&self, token: &str, ping: &Ping) -> Result<Option<String>, StoreError> {
        let name = self.store().add_ping(token, ping).await?;
        Ok(name.filter(|name| self.check_book().checks.contains_key(name)))
    }

    fn hurry_checks(&self) {
        crate::apps::lock(&self.shared.checks.passes).hurry();
        self.shared.checks.changed.notify_one();
    }
}

/// A result speaks for the present until the one after the next is overdue; the silence of a job that is not due says that
/// all is well.
fn known_until(check: &Check, row: &CheckRow, now: Timestamp) -> Timestamp {
    match check.kind {
        CheckKind::Heartbeat(_) => now,
        _ => row.last_run_at.map_or(row.created_at, |at| (at + check.validity() * GAP_INTERVALS).min(now)),
    }
}
