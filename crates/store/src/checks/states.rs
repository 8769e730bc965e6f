//! Where each check stands: one row per check that was ever run. Only its owner writes what a run changes, and only on top
//! of the version it knows; operators write their wishes beside it.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use dynowatch_domain::check::heartbeat::HeartbeatState;
use dynowatch_domain::check::observation::{Memory, Observation};
use dynowatch_domain::check::state::{CheckState, Shown};
use dynowatch_domain::check::uptime::Flip;
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::history::{self, OutageRow};
use crate::accounts::exec;
use crate::audit::append;
use crate::db::{CALL_MAX, Tx, on, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::rows::pieces;
use crate::text::{JsonText, clean, count, int, json, time};

/// More checks than this are all read at once.
const ASKED_SINGLY_MAX: usize = 32;

/// Who switched a check off, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
}

/// A check as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRow {
    /// Its number, for ever. Gives its place in the schedule.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Counts the changes of its owner.
    pub version: i64,
    /// Where it stands.
    pub state: CheckState,
    /// What it remembers from run to run.
    pub memory: Memory,
    /// What its job said, for heartbeats.
    pub heartbeat: HeartbeatState,
    /// What its last run found.
    pub last: Option<Observation>,
    /// What people see of it.
    pub shown: Shown,
    /// When its last run began.
    pub last_run_at: Option<Timestamp>,
    /// Slots that were missed, ever.
    pub missed: u64,
    /// What a ping must know, for heartbeats.
    pub ping_token: Option<String>,
    /// Switched off by an operator.
    pub paused: Option<Paused>,
    /// Somebody wants it run at once since then.
    pub run_asked_at: Option<Timestamp>,
    /// Somebody accepted the key that its server offers.
    pub pin_asked_at: Option<Timestamp>,
    /// Who runs it, and until when.
    pub owner: Option<(String, Timestamp)>,
    /// When it was first seen.
    pub created_at: Timestamp,
}

/// What is to be known of every check, whoever runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckHead {
    /// Its number.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// What people see of it.
    pub shown: Shown,
    /// Whether an operator switched it off.
    pub paused: bool,
    /// Somebody wants it run at once since then.
    pub run_asked_at: Option<Timestamp>,
    /// Somebody accepted the key that its server offers.
    pub pin_asked_at: Option<Timestamp>,
}

/// What a run changed, or a look at what surrounds the check.
#[derive(Debug, Clone)]
pub struct CheckChange {
    /// Which check.
    pub number: u64,
    /// Who runs it.
    pub owner: String,
    /// The version this rests on; the next one is written.
    pub version: i64,
    /// Where it stands now.
    pub state: CheckState,
    /// What it remembers.
    pub memory: Memory,
    /// What its job said.
    pub heartbeat: HeartbeatState,
    /// What its last run found.
    pub last: Option<Observation>,
    /// Slots that were missed, ever.
    pub missed: u64,
    /// Wishes up to here are fulfilled.
    pub asked_until: Option<Timestamp>,
    /// Pings that the heartbeat has taken in.
    pub pings: Vec<i64>,
    /// From when on it counts as what.
    pub flips: Vec<Flip>,
    /// Its outages that began, changed or ended.
    pub outages: Vec<OutageRow>,
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    name: String,
    version: i64,
    state: Json<CheckState>,
    memory: Json<Memory>,
    heartbeat: Json<HeartbeatState>,
    last: Json<Option<Observation>>,
    shown: String,
    last_run_at: Option<i64>,
    missed: i64,
    ping_token: Option<String>,
    paused_at: Option<i64>,
    paused_by: Option<String>,
    run_asked_at: Option<i64>,
    pin_asked_at: Option<i64>,
    owner: Option<String>,
    lease_until: i64,
    created_at: i64,
}

impl From<Row> for CheckRow {
    fn from(row: Row) -> Self {
        Self {
            number: count(row.number),
            name: row.name,
            version: row.version,
            state: row.state.0,
            memory: row.memory.0,
            heartbeat: row.heartbeat.0,
            last: row.last.0,
            // One of a newer version is taken for unknown.
            shown: Shown::named(&row.shown).unwrap_or(Shown::Unknown),
            last_run_at: row.last_run_at.map(time),
            missed: count(row.missed),
            ping_token: row.ping_token,
            paused: row.paused_at.zip(row.paused_by).map(|(at, by)| Paused { at: time(at), by }),
            run_asked_at: row.run_asked_at.map(time),
            pin_asked_at: row.pin_asked_at.map(time),
            owner: row.owner.map(|owner| (owner, time(row.lease_until))),
            created_at: time(row.created_at),
        }
    }
}

impl Store {
    /// Makes rows for checks that have none, and notes that all of them are still wanted. Each comes with the token that its
    /// pings will bear, for heartbeats; one that has a token keeps it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn register_checks(&self, checks: &[(String, Option<String>)], now: Timestamp) -> Result<()> {
        let empty = (json(&CheckState::default())?, json(&Memory::default())?, json(&HeartbeatState::default())?);
        let nothing = json(&None::<Observation>)?;
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            for piece in pieces(checks) {
                on!(&mut tx, Engine, conn, {
                    let mut query = QueryBuilder::<Engine>::new(
                        "INSERT INTO check_states (name, version, state, memory, heartbeat, last, shown, missed, ping_token, \
                         lease_until, created_at, seen_at) ",
                    );
                    query.push_values(piece, |mut row, (name, token)| {
                        row.push_bind(clean(name)).push_bind(1_i64);
                        row.push_bind(empty.0.clone()).push_bind(empty.1.clone()).push_bind(empty.2.clone());
                        row.push_bind(nothing.clone()).push_bind(Shown::New.as_str()).push_bind(0_i64);
                        row.push_bind(token.as_deref().map(clean));
                        row.push_bind(0_i64).push_bind(now.as_micros()).push_bind(now.as_micros());
                    });
                    query.push(
                        " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, \
                         ping_token = COALESCE(check_states.ping_token, excluded.ping_token)",
                    );
                    query.build().execute(conn).await?;
                });
            }
            tx.commit().await
        })
        .await
    }

    /// Every check there is a row of, by name; those that no configuration names any more among them.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_rows(&self) -> Result<Vec<CheckRow>> {
        let sql = "SELECT number, name, version, state, memory, heartbeat, last, shown, last_run_at, missed, ping_token, \
                   paused_at, paused_by, run_asked_at, pin_asked_at, owner, lease_until, created_at FROM check_states ORDER BY name";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        Ok(rows.into_iter().map(CheckRow::from).collect())
    }

    /// What is to be known of every check.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_heads(&self) -> Result<Vec<CheckHead>> {
        let sql = "SELECT number, name, shown, paused_at, run_asked_at, pin_asked_at FROM check_states ORDER BY number";
        type Head = (i64, String, String, Option<i64>, Option<i64>, Option<i64>);
        let rows: Vec<Head> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        let head = |(number, name, shown, paused_at, run_asked_at, pin_asked_at): Head| CheckHead {
            number: count(number),
            name,
            shown: Shown::named(&shown).unwrap_or(Shown::Unknown),
            paused: paused_at.is_some(),
            run_asked_at: run_asked_at.map(time),
            pin_asked_at: pin_asked_at.map(time),
        };
        Ok(rows.into_iter().map(head).collect())
    }

    /// The checks of those names.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_rows_named(&self, names: &[String]) -> Result<Vec<CheckRow>> {
        if names.len() > ASKED_SINGLY_MAX {
            let mut rows = self.check_rows().await?;
            rows.retain(|row| names.contains(&row.name));
            return Ok(rows);
        }
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            found.extend(self.check_row(name).await?);
        }
        Ok(found)
    }

    /// One check.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_row(&self, name: &str) -> Result<Option<CheckRow>> {
        let sql = "SELECT number, name, version, state, memory, heartbeat, last, shown, last_run_at, missed, ping_token, \
                   paused_at, paused_by, run_asked_at, pin_asked_at, owner, lease_until, created_at FROM check_states WHERE name = $1";
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(sql).bind(clean(name)).fetch_optional(pool))?;
        Ok(row.map(CheckRow::from))
    }

    /// Writes what runs changed, apart from any alert.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of them is run by somebody else by now; then nothing is written.
    pub async fn save_checks(&self, changes: &[CheckChange]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            save(&mut tx, changes).await?;
            tx.commit().await
        })
        .await
    }

    /// Switches a check off, or on again. Returns whether that changed anything.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is away.
    pub async fn pause_check(&self, name: &str, paused: Option<&Paused>, act: &Act, now: Timestamp) -> Result<bool> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let known = "SELECT paused_at FROM check_states WHERE name = $1";
            let before: Option<Option<i64>> =
                on!(&mut tx, Engine, conn, sqlx::query_scalar(known).bind(clean(name)).fetch_optional(conn).await?);
            let Some(before) = before else { return Err(StoreError::NotFound(format!("check {name}"))) };
            if before.is_some() == paused.is_some() {
                tx.rollback().await?;
                return Ok(false);
            }
            let sql = "UPDATE check_states SET paused_at = $1, paused_by = $2 WHERE name = $3";
            let (at, by) =
                (paused.map(|paused| paused.at.as_micros()), paused.map(|paused| clean(&paused.by).into_owned()));
            let _done = exec!(&mut tx, sqlx::query(sql).bind(at).bind(by.clone()).bind(clean(name)));
            append(&mut tx, act, now).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Asks the owner of a check to run it at once. Returns whether there is such a check.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn ask_check_run(&self, name: &str, act: &Act, now: Timestamp) -> Result<bool> {
        self.ask("UPDATE check_states SET run_asked_at = $1 WHERE name = $2", name, act, now).await
    }

    /// Asks the owner of a check to expect the key that its server offers from now on, and to run it at once. Returns whether
    /// there is such a check.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn ask_check_pin(&self, name: &str, act: &Act, now: Timestamp) -> Result<bool> {
        self.ask("UPDATE check_states SET pin_asked_at = $1, run_asked_at = $1 WHERE name = $2", name, act, now).await
    }

    async fn ask(&self, sql: &'static str, name: &str, act: &Act, now: Timestamp) -> Result<bool> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let found = exec!(&mut tx, sqlx::query(sql).bind(now.as_micros()).bind(clean(name)));
            if found == 0 {
                tx.rollback().await?;
                return Ok(false);
            }
            append(&mut tx, act, now).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }
}

/// A change with its values as they go into columns.
type Written<'a> = (&'a CheckChange, [JsonText; 4]);

/// Writes changes; all or none.
pub(crate) async fn save(tx: &mut Tx, changes: &[CheckChange]) -> Result<()> {
    let mut written = Vec::with_capacity(changes.len());
    for change in changes {
        let values = [json(&change.state)?, json(&change.memory)?, json(&change.heartbeat)?, json(&change.last)?];
        written.push((change, values));
    }
    // In one order, so that two writers never wait for each other in a circle.
    written.sort_by_key(|(change, _)| change.number);
    let mut changed = 0;
    for piece in pieces(&written) {
        changed += save_piece(tx, piece).await?;
    }
    if changed != written.len() as u64 {
        let missing = written.len() as u64 - changed;
        return Err(StoreError::Conflict(format!("{missing} checks are run by another process by now")));
    }
    history::save_flips(tx, changes).await?;
    history::save_outages(tx, changes).await?;
    super::pings::take(tx, changes).await?;
    Ok(())
}

async fn save_piece(tx: &mut Tx, piece: &[Written<'_>]) -> Result<u64> {
    let done = on!(tx, Engine, conn, {
        let mut query = QueryBuilder::<Engine>::new(
            "UPDATE check_states SET version = check_states.version + 1, state = v.column4, memory = v.column5, heartbeat = v.column6, \
             last = v.column7, shown = v.column8, last_run_at = v.column9, missed = v.column10, \
             run_asked_at = CASE WHEN check_states.run_asked_at <= v.column11 THEN NULL ELSE check_states.run_asked_at END, \
             pin_asked_at = CASE WHEN check_states.pin_asked_at <= v.column11 THEN NULL ELSE check_states.pin_asked_at END FROM (",
        );
        query.push_values(piece, |mut row, (change, [state, memory, heartbeat, last])| {
            row.push_bind(int(change.number)).push_bind(clean(&change.owner)).push_bind(change.version);
            row.push_bind(state.clone()).push_bind(memory.clone()).push_bind(heartbeat.clone()).push_bind(last.clone());
            row.push_bind(change.state.shown().as_str());
            row.push_bind(change.state.last_run_at().map(Timestamp::as_micros)).push_bind(int(change.missed));
            row.push_bind(change.asked_until.map(Timestamp::as_micros));
        });
        query.push(
            ") AS v WHERE check_states.number = v.column1 AND check_states.owner = v.column2 AND check_states.version = v.column3",
        );
        query.build().execute(conn).await?.rows_affected()
    });
    Ok(done)
}
