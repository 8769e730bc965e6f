//! Backup and restore: the whole store as lines of JSON that either engine reads, so that a backup is also the way from
//! SQLite to Postgres.
//!
//! The first line names the format and the schema, each further one a row (`{"table":"apps","row":{…}}`), the last the
//! number of rows: a file that was cut off is told from a whole one. Ids are text, bytes base64, JSON is JSON. Rows are
//! streamed, never held. The state is one consistent moment, even while a server runs; on SQLite the metrics, which lie
//! in another file, may be a moment younger.
//!
//! A backup holds everything, evidence lines with their secrets and the hashes of API tokens too: keep it as you would
//! the database.

use std::path::Path;

use data_encoding::BASE64;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, QueryBuilder, Row, SqliteConnection};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter, Lines};
use uuid::Uuid;

use crate::db::{Db, Tx, on, sqlite_options, without_limit};
use crate::error::{Result, StoreError};
use crate::open::{Store, StoreOptions};
use crate::schema::{Column, METRICS_TABLES, STATE_TABLES, Set, Table};
use crate::text::{self, clean};

/// The format that is written and read.
const FORMAT: u64 = 1;
/// How often a moment is looked for at which nothing waits in the journal: between two commits there is one.
const FOLDS_MAX: u32 = 1_000;
/// Rows per statement of a restore.
const ROWS_MAX: usize = 100;

/// What a backup or a restore moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Rows of all tables.
    pub rows: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Head { dynowatch_backup: u64, schema: i64 },
    Row { table: String, row: Map<String, Value> },
    End { end: u64 },
}

impl Store {
    /// Writes the whole store to a file for its owner alone, which appears under its name when it is complete.
    ///
    /// # Errors
    /// When the store is away or the file cannot be written. On SQLite also when the disk of the store is full and a server
    /// that was killed has left something in its journal, half a megabyte at most, which goes into the tables first.
    pub async fn backup(&self, path: &Path) -> Result<Moved> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = Path::new(&partial);
        let mut out = Out::create(partial).await?;
        out.line(&json!({"dynowatch_backup": FORMAT, "schema": Set::Postgres.newest()})).await?;
        match &self.files {
            Some(files) => {
                for (path, tables) in [(&files.state, STATE_TABLES), (&files.metrics, METRICS_TABLES)] {
                    // Connections of its own: a long reader must not take one from the pools.
                    let options = sqlite_options(path, sqlx::sqlite::SqliteSynchronous::Normal)
                        .read_only(true)
                        .create_if_missing(false);
                    let mut conn = options.connect().await?;
                    if path == &files.state {
                        self.begin_folded(&mut conn).await?;
                    } else {
                        sqlx::query("BEGIN").execute(&mut conn).await?;
                    }
                    for table in tables {
                        dump_lite(&mut conn, table, &mut out).await?;
                    }
                    // Closing it ends the transaction.
                    conn.close().await?;
                }
            }
            None => self.backup_postgres(&mut out).await?,
        }
        let rows = out.rows;
        out.line(&json!({"end": rows})).await?;
        out.finish().await?;
        tokio::fs::rename(partial, path).await.map_err(|error| StoreError::file(path, error))?;
        Ok(Moved { rows })
    }

    /// Begins to read the state at a moment at which the tables say everything: the journal is no part of a backup.
    async fn begin_folded(&self, conn: &mut SqliteConnection) -> Result<()> {
        for _ in 0..FOLDS_MAX {
            sqlx::query("BEGIN").execute(&mut *conn).await?;
            let waiting = "SELECT COUNT(*) FROM evaluations WHERE body IS NOT NULL";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut *conn).await?;
            if waiting == 0 {
                return Ok(());
            }
            sqlx::query("ROLLBACK").execute(&mut *conn).await?;
            self.fold_journal().await?;
        }
        Err(StoreError::Unavailable("a server commits faster than its journal could be folded".to_owned()))
    }

    async fn backup_postgres(&self, out: &mut Out<'_>) -> Result<()> {
        let Db::Pg(pool) = &self.state else { return Ok(()) };
        let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *tx).await?;
        for table in STATE_TABLES.iter().chain(METRICS_TABLES) {
            dump_pg(&mut tx, table, out).await?;
        }
        tx.rollback().await?;
        Ok(())
    }

    /// Reads a backup into an empty store, all of it or nothing. For SQLite no server may have the file open.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the store is not empty or in use, [`StoreError::NewerSchema`] for a backup of a newer
    /// dynowatch, [`StoreError::Corrupt`] for a file that is no backup or is cut off.
    pub async fn restore(path: &Path, options: &StoreOptions) -> Result<Moved> {
        let mut lines = Input::open(path).await?;
        lines.head().await?;
        let store = Self::open(&StoreOptions { exclusive: true, ..options.clone() }).await?;
        let (mut state, mut metrics) = (store.begin().await?, store.metrics.begin().await?);
        without_limit(&mut state).await?;
        without_limit(&mut metrics).await?;
        for (tx, tables) in [(&mut state, STATE_TABLES), (&mut metrics, METRICS_TABLES)] {
            refuse_filled(tx, tables).await?;
        }
        let rows = fill(&mut lines, &mut state, &mut metrics).await?;
        set_counters(&mut metrics, METRICS_TABLES).await?;
        set_counters(&mut state, STATE_TABLES).await?;
        metrics.commit().await?;
        state.commit().await?;
        store.close().await;
        Ok(Moved { rows })
    }
}

/// The file being written.
struct Out<'a> {
    path: &'a Path,
    file: BufWriter<File>,
    rows: u64,
}

impl<'a> Out<'a> {
    async fn create(path: &'a Path) -> Result<Self> {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path).await;
        let file = file.map_err(|error| StoreError::file(path, error))?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 16, file), rows: 0 })
    }

    async fn line(&mut self, value: &Value) -> Result<()> {
        let text = format!("{value}\n");
        self.file.write_all(text.as_bytes()).await.map_err(|error| StoreError::file(self.path, error))
    }

    async fn row(&mut self, table: &Table, row: Map<String, Value>) -> Result<()> {
        self.rows += 1;
        self.line(&json!({"table": table.name, "row": row})).await
    }

    async fn finish(mut self) -> Result<()> {
        let done = async {
            self.file.flush().await?;
            self.file.get_ref().sync_all().await
        };
        done.await.map_err(|error| StoreError::file(self.path, error))
    }
}

macro_rules! dump {
    ($name:ident, $conn:ty) => {
        /// Streams one table into the file.
        async fn $name(conn: &mut $conn, table: &Table, out: &mut Out<'_>) -> Result<()> {
            let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
            let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name);
            let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(conn);
            while let Some(row) = rows.try_next().await? {
                let mut values = Map::new();
                for (at, (name, column)) in table.columns.iter().enumerate() {
                    let value = match column {
                        Column::Uuid => row.try_get::<Option<Uuid>, _>(at)?.map(|id| Value::from(id.to_string())),
                        Column::Text => row.try_get::<Option<String>, _>(at)?.map(Value::from),
                        Column::Int | Column::Serial => row.try_get::<Option<i64>, _>(at)?.map(Value::from),
                        Column::Bool => row.try_get::<Option<bool>, _>(at)?.map(Value::from),
                        Column::Json => row.try_get::<Option<Json<Value>>, _>(at)?.map(|Json(value)| value),
                        Column::Bytes => {
                            row.try_get::<Option<Vec<u8>>, _>(at)?.map(|bytes| Value::from(BASE64.encode(&bytes)))
                        }
                    };
                    values.insert((*name).to_owned(), value.unwrap_or(Value::Null));
                }
                out.row(table, values).await?;
            }
            Ok(())
        }
    };
}

dump!(dump_lite, sqlx::SqliteConnection);
dump!(dump_pg, sqlx::PgConnection);

/// The file being read.
struct Input<'a> {
    path: &'a Path,
    lines: Lines<BufReader<File>>,
    number: u64,
}

impl<'a> Input<'a> {
    async fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).await.map_err(|error| StoreError::file(path, error))?;
        Ok(Self { path, lines: BufReader::with_capacity(1 << 16, file).lines(), number: 0 })
    }

    fn wrong(&self, what: &str) -> StoreError {
        StoreError::corrupt(format!("{}, line {}: {what}", self.path.display(), self.number))
    }

    async fn next(&mut self) -> Result<Line> {
        self.number += 1;
        let line = self.lines.next_line().await.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => self.wrong("not text"),
            _ => StoreError::file(self.path, error),
        })?;
        let line = line.ok_or_else(|| self.wrong("the backup is cut off here"))?;
        serde_json::from_str(&line).map_err(|error| self.wrong(&error.to_string()))
    }

    async fn head(&mut self) -> Result<()> {
        let known = Set::Postgres.newest();
        match self.next().await {
            Ok(Line::Head { dynowatch_backup: FORMAT, schema }) if schema <= known => Ok(()),
            Ok(Line::Head { dynowatch_backup: FORMAT, schema }) => {
                Err(StoreError::NewerSchema { found: schema, known })
            }
            Ok(Line::Head { dynowatch_backup, .. }) => {
                Err(self.wrong(&format!("format {dynowatch_backup} is not known here")))
            }
            Err(error @ StoreError::File { .. }) => Err(error),
            _ => Err(self.wrong("this is no dynowatch backup")),
        }
    }
}

async fn refuse_filled(tx: &mut Tx, tables: &[Table]) -> Result<()> {
    for table in tables {
        let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS first", table.name);
        let rows: i64 = on!(tx, Engine, conn, sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await?);
        if rows > 0 {
            return Err(StoreError::Conflict(format!(
                "a backup is restored into an empty store only; this one has rows in {}",
                table.name
            )));
        }
    }
    Ok(())
}

/// Reads rows up to the end line and inserts those that follow each other in one table together.
async fn fill(lines: &mut Input<'_>, state: &mut Tx, metrics: &mut Tx) -> Result<u64> {
    let mut rows = 0;
    let mut batch: Vec<Map<String, Value>> = Vec::new();
    let mut current: Option<(&'static Table, bool)> = None;
    loop {
        let line = lines.next().await?;
        let (table, row) = match line {
            Line::Row { table, row } => {
                (Some(find(&table).ok_or_else(|| lines.wrong(&format!("unknown table {table:?}")))?), Some(row))
            }
            Line::End { end } if end == rows => (None, None),
            Line::End { end } => {
                return Err(lines.wrong(&format!("{end} rows were written, {rows} are here")));
            }
            Line::Head { .. } => return Err(lines.wrong("a second head")),
        };
        let changes = current.map(|(of, _)| of.name) != table.map(|(of, _)| of.name);
        if let Some((of, is_metrics)) = current
            && (changes || batch.len() >= ROWS_MAX)
        {
            insert(if is_metrics { metrics } else { state }, of, &batch).await.map_err(|error| match error {
                StoreError::Corrupt { what } => lines.wrong(&format!("shortly before: {what}")),
                other => other,
            })?;
            batch.clear();
        }
        current = table;
        let Some(row) = row else { return Ok(rows) };
        batch.push(row);
        rows += 1;
    }
}

fn find(name: &str) -> Option<(&'static Table, bool)> {
    let state = STATE_TABLES.iter().map(|table| (table, false));
    state.chain(METRICS_TABLES.iter().map(|table| (table, true))).find(|(table, _)| table.name == name)
}

/// A value as its column takes it.
enum Cell {
    Uuid(Option<Uuid>),
    Text(Option<String>),
    Int(Option<i64>),
    Bool(Option<bool>),
    Json(Option<text::JsonText>),
    Bytes(Option<Vec<u8>>),
}

fn cell(name: &str, column: Column, value: Option<&Value>) -> Result<Cell> {
    let value = value.filter(|value| !value.is_null());
    let wrong = || StoreError::corrupt(format!("column {name:?} does not hold a value of its type"));
    let text = || value.map(|value| value.as_str().ok_or_else(wrong)).transpose();
    Ok(match column {
        Column::Uuid => Cell::Uuid(text()?.map(|id| id.parse().map_err(|_| wrong())).transpose()?),
        Column::Text => Cell::Text(text()?.map(|text| clean(text).into_owned())),
        Column::Int | Column::Serial => Cell::Int(value.map(|value| value.as_i64().ok_or_else(wrong)).transpose()?),
        Column::Bool => Cell::Bool(value.map(|value| value.as_bool().ok_or_else(wrong)).transpose()?),
        Column::Json => Cell::Json(value.map(text::json).transpose()?),
        Column::Bytes => {
            Cell::Bytes(text()?.map(|bytes| BASE64.decode(bytes.as_bytes()).map_err(|_| wrong())).transpose()?)
        }
    })
}

async fn insert(tx: &mut Tx, table: &Table, rows: &[Map<String, Value>]) -> Result<()> {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let cells =
        rows.iter().map(|row| table.columns.iter().map(|(name, column)| cell(name, *column, row.get(*name))).collect());
    let rows = cells.collect::<Result<Vec<Vec<Cell>>>>()?;
    on!(tx, Engine, conn, {
        let mut query = QueryBuilder::<Engine>::new(format!("INSERT INTO {} ({}) ", table.name, columns.join(", ")));
        query.push_values(rows, |mut values, row| {
            for cell in row {
                match cell {
                    Cell::Uuid(value) => values.push_bind(value),
                    Cell::Text(value) => values.push_bind(value),
                    Cell::Int(value) => values.push_bind(value),
                    Cell::Bool(value) => values.push_bind(value),
                    Cell::Json(value) => values.push_bind(value),
                    Cell::Bytes(value) => values.push_bind(value),
                };
            }
        });
        query.build().persistent(false).execute(conn).await?;
    });
    Ok(())
}

/// Lets Postgres count on from the restored ids; SQLite does so by itself.
async fn set_counters(tx: &mut Tx, tables: &[Table]) -> Result<()> {
    let Tx::Pg(tx) = tx else { return Ok(()) };
    for table in tables {
        let Some((counted, _)) = table.columns.iter().find(|(_, column)| *column == Column::Serial) else { continue };
        let sql = format!(
            "SELECT setval(pg_get_serial_sequence('{0}', '{counted}'), (SELECT COALESCE(MAX({counted}), 0) + 1 FROM {0}), false)",
            table.name
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut **tx).await?;
    }
    Ok(())
}
