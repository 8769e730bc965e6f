//! What is asked of a session, and the facts that come of it. Every statement runs in a transaction of its own that begins
//! read-only and timed, and is over when the next one comes.

use dynowatch_domain::check::kind::PostgresRole;
use dynowatch_domain::check::{Assertion, Decimal, Note, Reason, Value, json_path::Step};

use super::wire::{Column, Rows, ServerError, Session, Trouble, bad};
use crate::trace::{Failure, Trace};

/// More columns of a query are not noted unless an assertion asks for them.
const COLUMNS_MAX: usize = 20;

/// A session at work.
pub(super) struct Asking<'r> {
    pub(super) session: &'r mut Session,
    pub(super) statement_ms: u64,
    pub(super) trace: &'r mut Trace,
}

/// A row of ours, each value by its place.
struct Row(Vec<Option<String>>);

impl Row {
    fn text(&self, at: usize) -> Option<&str> {
        self.0.get(at)?.as_deref()
    }

    fn is_true(&self, at: usize) -> bool {
        self.text(at) == Some("t")
    }

    fn number(&self, at: usize) -> Option<i64> {
        self.text(at)?.parse().ok()
    }
}

impl Asking<'_> {
    fn begin(&self) -> String {
        format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {}", self.statement_ms)
    }

    /// One statement of ours with one row.
    async fn row(&mut self, sql: &str) -> Result<Row, Trouble> {
        self.trace.sent(sql);
        let asked = self.session.ask(&format!("{}; {sql}; COMMIT", self.begin())).await;
        let rows = self.told(asked).await?;
        let row = rows.rows.into_iter().next().ok_or_else(|| bad("a row is missing"))?;
        let shown: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or("null")).collect();
        self.trace.received(shown.join(" | "));
        Ok(Row(row))
    }

    /// Tells the transcript of an error, and ends its transaction.
    async fn told(&mut self, asked: Result<Rows, Trouble>) -> Result<Rows, Trouble> {
        if let Err(Trouble::Server(error)) = &asked {
            self.trace.received(format!("error {}: {}", error.code, error.message));
            // A session that is being ended does not answer; the first error is the one that counts.
            _ = self.session.ask("ROLLBACK").await;
        }
        asked
    }

    pub(super) async fn alive(&mut self) -> Result<(), Failure> {
        match self.row("SELECT 1").await?.text(0) {
            Some("1") => Ok(()),
            other => Err(bad(&format!("SELECT 1 gives {}", other.unwrap_or("null")))),
        }
    }

    pub(super) fn version(&mut self) {
        self.trace.facts.set("version", self.session.version.as_str());
    }

    /// Whether the server takes writes, and how far it is behind.
    pub(super) async fn recovery(&mut self, role: PostgresRole, wants_lag: bool) -> Result<(), Failure> {
        const RECOVERY: &str = "SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_db_role_setting s \
             WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
             AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user)) \
             AND s.setconfig && ARRAY['default_transaction_read_only=on', 'default_transaction_read_only=true', \
             'default_transaction_read_only=yes', 'default_transaction_read_only=1'])";
        let row = self.row(RECOVERY).await?;
        let in_recovery = row.is_true(0);
        self.trace.facts.set("recovery", in_recovery);
        if role == PostgresRole::Leader && in_recovery {
            self.trace.find(Reason::ReadOnly, "the server is in recovery (a follower), where a leader is expected");
        } else if role == PostgresRole::Leader && row.is_true(1) {
            let detail = "default_transaction_read_only is on for this database or user";
            self.trace.find(Reason::ReadOnly, detail);
        }
        if !wants_lag {
            return Ok(());
        }
        if !in_recovery {
            let absent = Value::absent(Reason::NotMeasured, "the server is a leader and follows nobody");
            self.trace.facts.set("lag", absent);
            return Ok(());
        }
        self.lag().await
    }

    /// A follower that has replayed all it received is not behind, however long ago that was: the leader had nothing to say.
    /// Unless nobody is there to receive it from; then only the last transaction tells.
    async fn lag(&mut self) -> Result<(), Failure> {
        const LAG: &str = "SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn(), \
             EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL), \
             trunc((extract(epoch FROM now() - pg_last_xact_replay_timestamp()) * 1000)::numeric, 3)";
        let row = self.row(LAG).await?;
        let (has_all, is_connected) = (row.is_true(0), row.is_true(1));
        if !is_connected {
            self.trace.notes.push(Note::NoWalReceiver);
            self.trace.note(Note::NoWalReceiver.sentence());
        }
        let since_last = row.text(2).and_then(|text| text.parse::<Decimal>().ok());
        let zero = Decimal::from(0_u64);
        let lag = if has_all && is_connected {
            Value::Duration(zero)
        } else {
            // A leader's clock may be ahead of the follower's.
            since_last.map_or_else(
                || Value::absent(Reason::NotMeasured, "the follower has not replayed a transaction yet"),
                |lag| Value::Duration(lag.max(zero)),
            )
        };
        self.trace.facts.set("lag", lag);
        Ok(())
    }

    pub(super) async fn table(&mut self, table: &str) -> Result<(), Failure> {
        let name = literal(table);
        let quoted = literal(&quoted(table));
        let sql = format!(
            "SELECT to_regclass({name}) IS NOT NULL, coalesce(has_table_privilege(to_regclass({name}), 'SELECT'), false), \
             to_regclass({quoted}) IS NOT NULL"
        );
        let row = match self.row(&sql).await {
            Ok(row) => row,
            Err(Trouble::Server(error)) if error.code == "42501" => {
                self.unseen(table, &error);
                return Ok(());
            }
            Err(trouble) => return Err(trouble.into()),
        };
        let (exists, readable) = (row.is_true(0), row.is_true(1));
        self.trace.facts.set("table.exists", exists);
        self.trace.facts.set("table.readable", readable);
        if exists && !readable {
            self.trace.notes.push(Note::NoSelect);
            self.trace.note(Note::NoSelect.sentence());
        } else if !exists && has_unquoted_capitals(table) && row.is_true(2) {
            let detail = format!("{table} is looked for in lower case; quote the name: {}", self::quoted(table));
            self.trace.find(Reason::UnquotedCapitals, detail);
        } else if !exists {
            let hint = if has_unquoted_capitals(table) {
                format!(" (looked for in lower case; a name with capitals must be quoted: {})", self::quoted(table))
            } else {
                String::new()
            };
            self.trace.find(Reason::TableMissing, format!("{table} does not exist{hint}"));
        }
        Ok(())
    }

    fn unseen(&mut self, table: &str, error: &ServerError) {
        let detail = format!("whether {table} exists is not known: {} (SQLSTATE 42501)", error.message);
        for name in ["table.exists", "table.readable"] {
            self.trace.facts.set(name, Value::absent(Reason::CannotSeeSchema, detail.clone()));
        }
        self.trace.find(Reason::CannotSeeSchema, detail);
    }

    /// Connections against whichever limit is nearest. Of other users' sessions only database and user are told to a user
    /// without rights, which is enough to count them.
    pub(super) async fn connections(&mut self) -> Result<(), Failure> {
        const CONNECTIONS: &str = "WITH clients AS (SELECT datname, usename FROM pg_stat_activity WHERE datid IS NOT NULL \
             AND usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend') SELECT \
             (SELECT count(*) FROM clients), \
             current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, \
             (SELECT count(*) FROM clients WHERE datname = current_database()), \
             (SELECT datconnlimit FROM pg_database WHERE datname = current_database()), \
             (SELECT count(*) FROM clients WHERE usename = current_user), \
             (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)";
        let row = match self.row(CONNECTIONS).await {
            Ok(row) => row,
            // Measured for the record on every run: whoever demands nothing of it is not failed by it.
            Err(Trouble::Server(error)) => {
                let failure = super::failure(&error);
                for name in ["connections.used", "connections.limit", "connections.percent"] {
                    self.trace.facts.set(name, Value::absent(failure.reason, failure.detail.clone()));
                }
                return Ok(());
            }
            Err(trouble) => return Err(trouble.into()),
        };
        let pairs = [(0, 1, "of the server"), (2, 3, "of this database"), (4, 5, "of this user")];
        let limits = pairs.into_iter().filter_map(|(used, limit, whose)| {
            let (used, limit) = (u64::try_from(row.number(used)?).ok()?, u64::try_from(row.number(limit)?).ok()?);
            Some((Decimal::percent(used, limit)?, used, limit, whose))
        });
        let nearest = limits.max_by(|a, b| a.0.cmp(&b.0));
        if let Some((percent, used, limit, whose)) = nearest {
            self.trace.facts.set_with("connections.used", used, whose);
            self.trace.facts.set_with("connections.limit", limit, whose);
            self.trace.facts.set_with(
                "connections.percent",
                Value::Number(percent),
                format!("{used} of {limit} {whose}"),
            );
        }
        Ok(())
    }

    /// The check's own statement.
    pub(super) async fn query(&mut self, query: &str, assertions: &[Assertion]) -> Result<(), Failure> {
        self.trace.sent(query);
        if query.contains('\0') {
            return Err(Failure::new(Reason::QueryInvalid, "the query has a zero byte"));
        }
        // Begun apart, since one message of the extended protocol holds one statement.
        self.session.ask(&self.begin()).await?;
        let asked = self.session.ask_one(query).await;
        let rows = match self.told(asked).await {
            Ok(rows) => rows,
            Err(Trouble::Server(error)) => {
                let failure = super::failure(&error);
                for name in wanted(assertions) {
                    self.trace.facts.set(name, Value::absent(failure.reason, failure.detail.clone()));
                }
                self.trace.find(failure.reason, failure.detail);
                return Ok(());
            }
            Err(trouble) => return Err(trouble.into()),
        };
        self.session.ask("ROLLBACK").await?;
        self.trace.received(format!("{} rows of {} columns", rows.count, rows.columns.len()));
        self.note_result(&rows, assertions);
        Ok(())
    }

    fn note_result(&mut self, rows: &Rows, assertions: &[Assertion]) {
        self.trace.facts.set("query.rows", rows.count);
        let first = rows.rows.first();
        let single = match (first.map(Vec::as_slice), rows.columns.as_slice()) {
            (Some([text]), [column]) if rows.count == 1 => value(column, text.as_deref()),
            _ => Value::absent(
                Reason::QueryFailed,
                format!("the query gives {} rows of {} columns, not one value", rows.count, rows.columns.len()),
            ),
        };
        self.trace.facts.set("query", single);
        for (place, column) in rows.columns.iter().enumerate().take(COLUMNS_MAX) {
            let value = match first {
                None => Value::absent(Reason::QueryFailed, "the query gives no row"),
                Some(_) if rows.columns.iter().filter(|other| other.name == column.name).count() > 1 => {
                    Value::absent(Reason::QueryFailed, format!("two columns are called {:?}", column.name))
                }
                Some(row) => value(column, row.get(place).and_then(Option::as_deref)),
            };
            if column.name != "rows" {
                self.trace.facts.set(format!("query.{}", column.name), value);
            }
        }
        // A name that is written in brackets, and names that the query does not give.
        for assertion in assertions.iter().filter(|assertion| assertion.subject().root == "query") {
            let subject = assertion.subject();
            if self.trace.facts.get(&subject.name).is_some() {
                continue;
            }
            let Some(Step::Key(name)) = subject.steps.first() else { continue };
            let plain = self.trace.facts.get(&format!("query.{name}")).map(|fact| fact.value.clone());
            let missing = || Value::absent(Reason::QueryFailed, format!("the query gives no column {name:?}"));
            self.trace.facts.set(subject.name.clone(), plain.unwrap_or_else(missing));
        }
    }
}

fn wanted(assertions: &[Assertion]) -> impl Iterator<Item = String> {
    let names = assertions.iter().map(Assertion::subject).filter(|subject| subject.root == "query");
    names.map(|subject| subject.name.clone())
}

/// A value by the type of its column (`pg_type.oid`); what is no number or truth is a text.
fn value(column: &Column, text: Option<&str>) -> Value {
    const BOOL: u32 = 16;
    /// int8, int2, int4, oid, float4, float8, numeric.
    const NUMBERS: [u32; 7] = [20, 21, 23, 26, 700, 701, 1700];
    let Some(text) = text else { return Value::Null };
    match column.oid {
        BOOL => Value::Bool(text == "t"),
        // NaN and Infinity are no numbers that could be compared.
        oid if NUMBERS.contains(&oid) => text.parse().map_or_else(|_| Value::from(text), Value::Number),
        _ => Value::from(text),
    }
}

/// A text as a literal that no setting of the server changes the meaning of.
fn literal(text: &str) -> String {
    let text: String = text.chars().filter(|c| *c != '\0').collect();
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A name with each of its parts in double quotes.
fn quoted(name: &str) -> String {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for c in name.trim().chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(String::new()),
            c => parts.iter_mut().last().into_iter().for_each(|part| part.push(c)),
        }
    }
    let parts: Vec<String> = parts.iter().map(|part| format!("\"{}\"", part.trim())).collect();
    parts.join(".")
}

fn has_unquoted_capitals(name: &str) -> bool {
    name.split('"').step_by(2).any(|outside| outside.chars().any(char::is_uppercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_literals_are_quoted() {
        for (name, want, capitals) in [
            ("orders", "\"orders\"", false),
            ("public.Orders", "\"public\".\"Orders\"", true),
            ("public.\"Orders\"", "\"public\".\"Orders\"", false),
            ("\"My.Schema\".Orders", "\"My.Schema\".\"Orders\"", true),
        ] {
            assert_eq!((quoted(name).as_str(), has_unquoted_capitals(name)), (want, capitals), "{name}");
        }
        assert_eq!(literal("a'b\\c\0"), "E'a''b\\\\c'");
    }

    #[test]
    fn values_keep_their_types() {
        let column = |oid| Column { name: "x".to_owned(), oid };
        for (oid, text, want) in [
            (20, Some("7"), "7"),
            (1700, Some("0.10"), "0.10"),
            (701, Some("1e+20"), "1e+20"),
            (1700, Some("NaN"), "\"NaN\""),
            (16, Some("t"), "true"),
            (25, Some("7"), "\"7\""),
            (23, None, "null"),
        ] {
            assert_eq!(value(&column(oid), text).to_string(), want);
        }
    }
}
