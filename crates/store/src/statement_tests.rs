//! Every statement that stands in this crate as a text is prepared on both engines, so that one that no contract test
//! happens to run is still known to be good. Found in the sources themselves: a new statement needs no entry here.
//! Statements put together from pieces (`QueryBuilder`, `format!`) are run by the contract suite instead.

use std::path::Path;

use dynowatch_testkit::postgres::TestDatabase;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use crate::db::Db;
use crate::{Store, StoreOptions};

/// What only one engine knows; its statements are prepared there alone.
const SQLITE_ONLY: &[&str] = &["sqlite_master", "PRAGMA", "BEGIN IMMEDIATE", "pragma_", "rowid", "evaluations"];
const POSTGRES_ONLY: &[&str] =
    &["to_regclass", "set_config", "FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE", "ANY(", "pg_", "UNNEST", "::"];
/// How a statement begins.
const BEGINNINGS: &[&str] = &["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH "];

/// The string literals of a source text, with what stands before each. Knows comments, escapes and the backslash that
/// joins lines; raw strings are not looked for: tests alone have them.
fn literals(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = source;
    let mut before = String::new();
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(tail) = rest.strip_prefix("'\"'") {
            rest = tail;
        } else if c == '"' {
            let (text, tail) = literal(rest.get(1..).unwrap());
            found.push((before.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect(), text));
            before.clear();
            rest = tail;
        } else {
            before.push(c);
            rest = rest.get(c.len_utf8()..).unwrap();
        }
    }
    found
}

/// One literal, and what follows it.
fn literal(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = source.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, source.get(at + 1..).unwrap()),
            '\\' => match chars.next() {
                Some((at, '\n')) => {
                    let tail = source.get(at + 1..).unwrap();
                    let skipped = tail.len() - tail.trim_start().len();
                    chars = source.char_indices();
                    // On to the first character that is not white space.
                    while chars.clone().next().is_some_and(|(i, _)| i < at + 1 + skipped) {
                        chars.next();
                    }
                }
                Some((_, escaped)) => text.push(escaped),
                None => break,
            },
            c => text.push(c),
        }
    }
    panic!("a literal without an end: {text:.80}")
}

/// Whole statements of this crate, with their file.
fn statements() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.to_string_lossy().ends_with("_tests.rs")
            {
                let source = std::fs::read_to_string(&path).unwrap();
                let source = source.split("#[cfg(test)]").next().unwrap();
                for (before, text) in literals(source) {
                    let whole = BEGINNINGS.iter().any(|beginning| text.starts_with(beginning));
                    let piece = before.contains("QueryBuilder")
                        || before.contains("format!(")
                        || text.contains('{')
                        || text.trim_end().ends_with(['(', ',']);
                    if whole && !piece {
                        found.push((path.file_name().unwrap().to_string_lossy().into_owned(), text));
                    }
                }
            }
        }
    }
    found
}

async fn problems(store: &Store, others: &[&str]) -> (usize, Vec<String>) {
    let (mut prepared, mut problems) = (0, Vec::new());
    for (file, sql) in statements() {
        if others.iter().any(|word| sql.contains(word)) {
            continue;
        }
        let mut outcome = prepare(&store.state, &sql).await;
        if outcome.is_err() && store.engine() == crate::Engine::Sqlite {
            // Metrics lie in a file of their own.
            outcome = prepare(&store.metrics, &sql).await.or(outcome);
        }
        prepared += 1;
        problems.extend(outcome.err().map(|error| format!("{file}: {error}\n    {sql}")));
    }
    (prepared, problems)
}

async fn prepare(db: &Db, sql: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    match db {
        Db::Lite { r, .. } => r.acquire().await?.prepare(sql).await.map(|_| ()),
        Db::Pg(pool) => pool.acquire().await?.prepare(sql).await.map(|_| ()),
    }
}

#[tokio::test]
async fn every_statement_is_good_on_both_engines() {
    let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::create().await);
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    for (url, others) in [(url.as_str(), POSTGRES_ONLY), (database.url(), SQLITE_ONLY)] {
        let store = Store::open(&StoreOptions::new(url)).await.unwrap();
        let (prepared, problems) = problems(&store, others).await;
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        assert!(prepared > 50, "only {prepared} statements were found: has their form changed?");
    }
}

#[test]
fn literals_are_found() {
    let source = "let a = \"SELECT 1\"; // \"no\"\nlet b = \"x \\\n         y\\\"z\"; c('\"'); d(\"\")";
    let texts: Vec<String> = literals(source).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["SELECT 1", "x y\"z", ""]);
}
