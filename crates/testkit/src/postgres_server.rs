//! A Postgres server of one test's own, for what the shared one cannot show: passwords, TLS, a follower, no connection
//! left, a server that is starting. Slower to start than a database of [`crate::postgres`], so only for tests of checks.
//!
//! A shell stands between the test and the server and waits for the end of its standard input, so that however the test
//! ends, nothing is left running.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::certificates::Identity;
use crate::guardian::free_port;

/// Where distributions keep `initdb`, which is not on the path of Debian and its kin.
const FOLDERS: &[&str] = &["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt"];

/// Arguments: folder of the programs, port, options of the server, lines of `pg_hba.conf`, certificate, key, port of the
/// leader to follow.
const GUARDIAN: &str = r#"
set -u
bin=$1 port=$2 options=$3 hba=$4 certificate=$5 key=$6 leader=$7
umask 077
dir=$(mktemp -d "${TMPDIR:-/tmp}/dynowatch-postgres.XXXXXX" 2>/dev/null) ||
    dir=$(mktemp -d /tmp/dynowatch-postgres.XXXXXX) || exit 1
clean_up() {
    "$bin/pg_ctl" --pgdata="$dir/data" --mode=immediate --wait stop >/dev/null 2>&1
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
{
    if [ -n "$leader" ]; then
        "$bin/pg_basebackup" --host=127.0.0.1 --port="$leader" --username=postgres --pgdata="$dir/data" \
            --write-recovery-conf --wal-method=stream --checkpoint=fast --no-sync
    else
        "$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync
    fi &&
    printf '%s\n' "$hba" 'host all postgres 127.0.0.1/32 trust' 'host replication postgres 127.0.0.1/32 trust' \
        >"$dir/data/pg_hba.conf" &&
    if [ -n "$certificate" ]; then
        printf '%s' "$certificate" >"$dir/data/server.crt" && printf '%s' "$key" >"$dir/data/server.key" &&
        options="$options -c ssl=on"
    fi &&
    "$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/log" --timeout=60 --wait --options="-p $port \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off $options" start
} >"$dir/start" 2>&1 || { cat "$dir/start" "$dir/log" >&2 2>/dev/null; exit 1; }
echo ready
read -r _ || :
"#;

/// How a server is set up.
#[derive(Default)]
pub struct Setup<'s> {
    /// Options of the server, such as `-c max_connections=5`.
    pub options: &'s str,
    /// Lines of `pg_hba.conf` before those that let `postgres` in without a password.
    pub hba: &'s str,
    /// With TLS, and this certificate.
    pub identity: Option<&'s Identity>,
    /// A follower of the server on this port.
    pub leader: Option<u16>,
}

/// A running server. Dropping it stops it.
pub struct PostgresServer {
    _guardian: Child,
    port: u16,
}

/// A session that is kept open.
pub struct HeldSession(PgConnection);

impl HeldSession {
    /// Ends it, and waits until the server knows.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn end(self) {
        self.0.close().await.expect("the session ends");
    }
}

impl PostgresServer {
    /// Starts one.
    ///
    /// # Panics
    /// When Postgres is not installed or does not start; shows what it printed.
    pub async fn start(setup: &Setup<'_>) -> Self {
        let bin = programs();
        let mut problem = String::new();
        // A free port can be taken between the moment we look and the moment it is bound.
        for _ in 0..3 {
            match Self::try_start(&bin, setup).await {
                Ok(server) => return server,
                Err(output) => problem = output,
            }
        }
        panic!("Postgres does not start:\n{problem}")
    }

    async fn try_start(bin: &Path, setup: &Setup<'_>) -> Result<Self, String> {
        let port = free_port();
        let is_root = Command::new("id").arg("-u").output().await.is_ok_and(|output| output.stdout == b"0\n");
        // Postgres refuses to run as root; the packages bring a user for it.
        let mut shell = if is_root {
            let mut runuser = Command::new("runuser");
            runuser.args(["--user", "postgres", "--", "/bin/sh"]);
            runuser
        } else {
            Command::new("/bin/sh")
        };
        let (chain, key) =
            setup.identity.map(|identity| (identity.chain_pem(), identity.key_pem())).unwrap_or_default();
        let leader = setup.leader.map(|port| port.to_string()).unwrap_or_default();
        let mut guardian = shell
            .args(["-c", GUARDIAN, "postgres-for-tests"])
            .arg(bin)
            .args([&port.to_string(), setup.options, setup.hba, &chain, &key, &leader])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let stdout = guardian.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).await.expect("its output is read");
        if line.trim() == "ready" {
            return Ok(Self { _guardian: guardian, port });
        }
        let mut problem = String::new();
        let mut stderr = guardian.stderr.take().expect("its errors");
        stderr.read_to_string(&mut problem).await.expect("its errors are read");
        Err(problem)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements as the superuser, in one transaction if they are several.
    ///
    /// # Panics
    /// When one fails.
    pub async fn execute(&self, sql: &str) {
        let mut connection = self.connect("postgres").await;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close().await.expect("the session ends");
    }

    /// One number, as the superuser.
    ///
    /// # Panics
    /// When the statement fails.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connect("postgres").await;
        let number = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await;
        connection.close().await.expect("the session ends");
        number.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// A session that stays open, as a user who needs no password.
    pub async fn hold(&self, user: &str) -> HeldSession {
        HeldSession(self.connect(user).await)
    }

    async fn connect(&self, user: &str) -> PgConnection {
        let url = format!("postgres://{user}@127.0.0.1:{}/postgres?sslmode=disable", self.port);
        PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{user} cannot connect: {error}"))
    }
}

/// The folder with `initdb`: the newest version in a distribution's place, then the path.
fn programs() -> PathBuf {
    let mut candidates = Vec::new();
    for folder in FOLDERS {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version: u32 = name.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
            candidates.push((version, entry.path().join("bin")));
        }
    }
    candidates.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = candidates.into_iter().rev().map(|(_, bin)| bin);
    known
        .chain(std::env::split_paths(&path))
        .find(|bin| bin.join("initdb").is_file() && bin.join("pg_basebackup").is_file())
        .expect("this test needs Postgres, which is not installed: run it by `cargo xtask test`, which installs it")
}
