//! The audit log: rows that are only ever added, each in the transaction of what it tells of, chained by their hashes. The
//! form of an entry and of the chain is `domain`'s; triggers refuse every change (see the migrations).

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::{Act, Entry, Hash};
use sha2::{Digest as _, Sha256};

use crate::db::{CALL_MAX, Tx, on, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::{clean, time};

/// Entries of one page at most.
pub const AUDIT_PAGE_MAX: u32 = 500;
/// Names the lock under which entries are added: their order is that of their places.
const LOCK: i64 = 0x6175_6469_7400;

type Row = (i64, i64, String, String, String, String, String, Vec<u8>, Vec<u8>);

/// The hash of the chain: SHA-256.
#[must_use]
pub fn audit_hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Which entries; an empty part asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Who, by the whole name.
    pub actor: Option<String>,
    /// What, by its beginning: `rule.` means all that was done to rules.
    pub action: Option<String>,
    /// To what, by the whole name.
    pub subject: Option<String>,
    /// Only those before this place.
    pub before: Option<i64>,
}

/// Waits for the right to add entries, until the end of the transaction. What must see the newest state of accounts (who is
/// the last superadmin) takes it first.
pub(crate) async fn serialise(tx: &mut Tx) -> Result<()> {
    if let Tx::Pg(pg) = tx {
        let _locked = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut **pg).await?;
    }
    Ok(())
}

/// Adds an entry. What it tells of happens with it, or not at all.
pub(crate) async fn append(tx: &mut Tx, act: &Act, now: Timestamp) -> Result<()> {
    serialise(tx).await?;
    let last: Option<(i64, Vec<u8>)> = on!(
        tx,
        Engine,
        conn,
        sqlx::query_as("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetch_optional(conn).await?
    );
    let last = last.map(|(seq, hash)| Ok::<_, StoreError>((seq, whole(&hash)?))).transpose()?;
    let act = Act {
        actor: clean(&act.actor).into_owned(),
        address: clean(&act.address).into_owned(),
        action: act.action,
        subject: clean(&act.subject).into_owned(),
        detail: clean(&act.detail).into_owned(),
    };
    let entry = Entry::after(last, now, &act, audit_hash);
    let sql = "INSERT INTO audit (seq, at, actor, address, action, subject, detail, previous, hash) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    on!(tx, Engine, conn, {
        sqlx::query(sql)
            .bind(entry.seq)
            .bind(entry.at.as_micros())
            .bind(&entry.actor)
            .bind(&entry.address)
            .bind(&entry.action)
            .bind(&entry.subject)
            .bind(&entry.detail)
            .bind(&entry.previous[..])
            .bind(&entry.hash[..])
            .execute(conn)
            .await?;
    });
    Ok(())
}

fn whole(hash: &[u8]) -> Result<Hash> {
    hash.try_into().map_err(|_wrong| StoreError::corrupt("a hash of the audit log that is not 32 bytes"))
}

fn entry((seq, at, actor, address, action, subject, detail, previous, hash): Row) -> Result<Entry> {
    let (previous, hash) = (whole(&previous)?, whole(&hash)?);
    Ok(Entry { seq, at: time(at), actor, address, action, subject, detail, previous, hash })
}

impl Store {
    /// Writes down something that changed nothing in the store, such as a failed sign-in.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn audit(&self, act: &Act, now: Timestamp) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// The newest entries that the filter takes, newest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn audit_entries(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<Entry>> {
        let sql = "SELECT seq, at, actor, address, action, subject, detail, previous, hash FROM audit \
                   WHERE seq < $1 AND ($2 = '' OR actor = $2) AND ($3 = '' OR substr(action, 1, length($3)) = $3) AND ($4 = '' OR subject = $4) \
                   ORDER BY seq DESC LIMIT $5";
        let text = |field: &Option<String>| clean(field.as_deref().unwrap_or_default()).into_owned();
        let (actor, action, subject) = (text(&filter.actor), text(&filter.action), text(&filter.subject));
        let before = filter.before.unwrap_or(i64::MAX);
        let limit = i64::from(limit.min(AUDIT_PAGE_MAX));
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(before)
            .bind(&actor)
            .bind(&action)
            .bind(&subject)
            .bind(limit)
            .fetch_all(pool))?;
        rows.into_iter().map(entry).collect()
    }

    /// The entries after a place, oldest first: for walking the whole chain in pieces.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn audit_after(&self, seq: i64, limit: u32) -> Result<Vec<Entry>> {
        let sql = "SELECT seq, at, actor, address, action, subject, detail, previous, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
        let limit = i64::from(limit.min(AUDIT_PAGE_MAX));
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).bind(seq).bind(limit).fetch_all(pool))?;
        rows.into_iter().map(entry).collect()
    }
}
