//! What jobs say: taken in by whichever process hears it, read by the one that runs the check.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::heartbeat::{NOTE_BYTES_MAX, Ping, PingKind, RUN_ID_BYTES_MAX};
use sqlx::QueryBuilder;

use super::states::CheckChange;
use crate::db::{CALL_MAX, Tx, change, on, read, within};
use crate::error::Result;
use crate::open::Store;
use crate::rows::pieces;
use crate::text::{clean, count, int, time};

/// For how long pings are kept.
pub const PINGS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// The most pings of one reading.
const PINGS_MAX: i64 = 1_000;

/// A ping that its check has not taken in yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPing {
    /// Its id, for [`CheckChange::pings`].
    pub id: i64,
    /// Of which check.
    pub number: u64,
    /// What it says.
    pub ping: Ping,
}

type Row = (i64, i64, i64, String, Option<String>, String);

fn new_ping((id, number, at, kind, run, note): Row) -> NewPing {
    let kind = PingKind::named(&kind).unwrap_or(PingKind::Finish);
    NewPing { id, number: count(number), ping: Ping { at: time(at), kind, run, note } }
}

/// At most that many bytes of a text, whole characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

impl Store {
    /// Takes a ping in. Returns the check's name; `None`: no check has that token.
    ///
    /// # Errors
    /// When the store is away: the job was not heard.
    pub async fn add_ping(&self, token: &str, ping: &Ping) -> Result<Option<String>> {
        within(CALL_MAX, async {
            let known = "SELECT number, name FROM check_states WHERE ping_token = $1";
            let found: Option<(i64, String)> =
                read!(&self.state, |pool| sqlx::query_as(known).bind(clean(token)).fetch_optional(pool))?;
            let Some((number, name)) = found else { return Ok(None) };
            let sql = "INSERT INTO check_pings (number, at, kind, run, note, taken) VALUES ($1, $2, $3, $4, $5, $6)";
            let run = ping.run.as_deref().map(|run| clean(cut(run, RUN_ID_BYTES_MAX)).into_owned());
            let note = clean(cut(&ping.note, NOTE_BYTES_MAX)).into_owned();
            let (at, kind) = (ping.at.as_micros(), ping.kind.as_str());
            let _done = change!(
                &self.state,
                sqlx::query(sql).bind(number).bind(at).bind(kind).bind(run.clone()).bind(note.clone()).bind(false)
            )?;
            Ok(Some(name))
        })
        .await
    }

    /// Pings that the checks of that owner have not taken in yet, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn new_pings(&self, owner: &str) -> Result<Vec<NewPing>> {
        let sql = "SELECT p.id, p.number, p.at, p.kind, p.run, p.note FROM check_pings AS p JOIN check_states AS s ON s.number = p.number \
                   WHERE s.owner = $1 AND NOT p.taken ORDER BY p.at, p.id LIMIT $2";
        let rows: Vec<Row> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(clean(owner)).bind(PINGS_MAX).fetch_all(pool))?;
        Ok(rows.into_iter().map(new_ping).collect())
    }

    /// Pings of a check, newest first, that came before `before`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_pings(&self, number: u64, before: Timestamp, limit: u32) -> Result<Vec<Ping>> {
        let sql = "SELECT id, number, at, kind, run, note FROM check_pings WHERE number = $1 AND at < $2 ORDER BY at DESC, id DESC LIMIT $3";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(int(number))
            .bind(before.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool))?;
        Ok(rows.into_iter().map(|row| new_ping(row).ping).collect())
    }
}

/// Marks pings as taken in.
pub(super) async fn take(tx: &mut Tx, changes: &[CheckChange]) -> Result<()> {
    let ids: Vec<i64> = changes.iter().flat_map(|change| change.pings.iter().copied()).collect();
    for piece in pieces(&ids) {
        on!(&mut *tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new("UPDATE check_pings SET taken = ");
            query.push_bind(true).push(" WHERE id IN ");
            query.push_tuples(piece, |mut row, id| {
                row.push_bind(*id);
            });
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}
