//! Runs: packed, ten minutes of one check to a row ([`dynowatch_domain::check::run`]), and what failed runs found, whole.
//! Beside the metrics, and bounded as they are.
//!
//! Growth: a run takes 10 to 15 bytes, so a check that runs each minute writes some 20 kB a day and, with seven days kept,
//! holds 150 kB; 2,000 checks every 30 s hold some 600 MB. A failure kept whole takes one to three kB; of a failure that
//! goes on unchanged only one in ten minutes is kept (the caller's rule).

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::observation::Observation;
use dynowatch_domain::check::run::{self, ROW, Run};
use sqlx::QueryBuilder;
use sqlx::types::Json;

use crate::db::{CALL_MAX, Tx, on, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::rows::pieces;
use crate::text::{clean, count, int, json, time};

/// For how long runs are kept.
pub const RESULTS_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// For how long failures are kept whole.
pub const FAILURES_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// The most rows of runs of one answer: seven days of one check.
const ROWS_MAX: i64 = 1_100;

/// Ten minutes of one check, as they are now: what the row held before is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRow {
    /// Which check.
    pub number: u64,
    /// The first moment of the row.
    pub from: Timestamp,
    /// Its runs, packed.
    pub body: Vec<u8>,
}

/// What a failed run found, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What it found.
    pub observation: Observation,
    /// What it did, line by line; masked and bounded.
    pub transcript: String,
}

impl Store {
    /// Writes runs and failures, all or none.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room; [`Store::metrics_stopped`] says so until a later call succeeds.
    pub async fn write_check_results(&self, rows: &[ResultRow], failures: &[(u64, Failure)]) -> Result<()> {
        if rows.is_empty() && failures.is_empty() {
            return Ok(());
        }
        let mut kept = Vec::with_capacity(failures.len());
        for (number, Failure { observation, transcript }) in failures {
            let at = observation.started_at.as_micros();
            kept.push((int(*number), at, json(observation)?, clean(transcript).into_owned()));
        }
        let mut sorted: Vec<&ResultRow> = rows.iter().collect();
        sorted.sort_by_key(|row| (row.number, row.from));
        let done = within(CALL_MAX, async {
            self.check_room().await?;
            let mut tx = self.metrics.begin().await?;
            save_rows(&mut tx, &sorted).await?;
            for piece in pieces(&kept) {
                on!(&mut tx, Engine, conn, {
                    let mut query = QueryBuilder::<Engine>::new(
                        "INSERT INTO check_failures (number, at, observation, transcript) ",
                    );
                    query.push_values(piece, |mut row, (number, at, observation, transcript)| {
                        row.push_bind(*number).push_bind(*at).push_bind(observation.clone());
                        row.push_bind(transcript.as_str());
                    });
                    query.build().execute(conn).await?;
                });
            }
            tx.commit().await
        })
        .await;
        self.note_room(&done);
        done
    }

    /// Runs of a check in `[from, until)`, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_runs(&self, number: u64, from: Timestamp, until: Timestamp) -> Result<Vec<Run>> {
        let sql = "SELECT from_at, body FROM (SELECT from_at, body FROM check_results WHERE number = $1 AND from_at >= $2 AND from_at < $3 \
                   ORDER BY from_at DESC LIMIT $4) AS newest ORDER BY from_at";
        let rows: Vec<(i64, Vec<u8>)> = read!(&self.metrics, |pool| sqlx::query_as(sql)
            .bind(int(number))
            .bind(from.floor(ROW).as_micros())
            .bind(until.as_micros())
            .bind(ROWS_MAX)
            .fetch_all(pool))?;
        let mut runs = Vec::new();
        for (at, body) in rows {
            runs.extend(run::unpack(time(at), &body).ok_or_else(|| StoreError::corrupt("the runs of a check"))?);
        }
        runs.retain(|run| run.at >= from && run.at < until);
        Ok(runs)
    }

    /// The rows of this very time, of all checks: what a new owner goes on from.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_result_rows(&self, from: Timestamp) -> Result<Vec<ResultRow>> {
        let sql = "SELECT number, from_at, body FROM check_results WHERE from_at >= $1 ORDER BY number LIMIT $2";
        let rows: Vec<(i64, i64, Vec<u8>)> = read!(&self.metrics, |pool| sqlx::query_as(sql)
            .bind(from.floor(ROW).as_micros())
            .bind(20_000_i64)
            .fetch_all(pool))?;
        let row = |(number, from, body)| ResultRow { number: count(number), from: time(from), body };
        Ok(rows.into_iter().map(row).collect())
    }

    /// What failed runs of a check found, newest first, that began before `before`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_failures(&self, number: u64, before: Timestamp, limit: u32) -> Result<Vec<Failure>> {
        let sql = "SELECT observation, transcript FROM check_failures WHERE number = $1 AND at < $2 ORDER BY at DESC, id DESC LIMIT $3";
        let rows: Vec<(Json<Observation>, String)> = read!(&self.metrics, |pool| sqlx::query_as(sql)
            .bind(int(number))
            .bind(before.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool))?;
        Ok(rows.into_iter().map(|(Json(observation), transcript)| Failure { observation, transcript }).collect())
    }
}

async fn save_rows(tx: &mut Tx, rows: &[&ResultRow]) -> Result<()> {
    for piece in pieces(rows) {
        on!(&mut *tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new("INSERT INTO check_results (number, from_at, body) ");
            query.push_values(piece, |mut row, result| {
                row.push_bind(int(result.number)).push_bind(result.from.as_micros()).push_bind(result.body.as_slice());
            });
            query.push(" ON CONFLICT (number, from_at) DO UPDATE SET body = excluded.body");
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}
