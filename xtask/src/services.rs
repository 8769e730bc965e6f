//! The services that tests use, found or installed. Postgres is started here, in a temporary folder on a free loopback
//! port, and always stopped; Prometheus and Redis are started by the tests that need one.
//!
//! A shell stands between us and Postgres and waits for the end of its standard input. Whatever ends us (a return,
//! Ctrl-C, `kill -9`) closes that pipe, and the shell stops Postgres and removes the folder. It has a process group
//! of its own, so that Ctrl-C in a terminal does not reach it before us.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages::is_root;
use crate::{command, packages};

/// Where tests find the server; `dynowatch-testkit` makes a database of its own there for each test.
pub(crate) const POSTGRES_URL: &str = "DYNOWATCH_TEST_POSTGRES_URL";

/// Where distributions keep `initdb` and `pg_ctl`, which are not on the path of Debian and its kin.
const POSTGRES_FOLDERS: &[&str] = &["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt"];

/// What to do where we cannot install.
const POSTGRES_WANTED: &str = "the tests need Postgres (initdb and pg_ctl), which is not installed here.\n\
     Debian, Ubuntu: apt-get install postgresql\n\
     Fedora: dnf install postgresql-server    macOS: brew install postgresql@16\n\
     Then run this again; no server needs to run, the tests start their own.";

const PROMETHEUS_WANTED: &str = "the tests need the program `prometheus`, which is not installed here.\n\
     Debian, Ubuntu: apt-get install --no-install-recommends prometheus    macOS: brew install prometheus\n\
     Then run this again; no server needs to run, the tests start their own.";

const REDIS_WANTED: &str = "the tests need the programs `redis-server` and `redis-cli`, which are not installed here.\n\
     Debian, Ubuntu: apt-get install --no-install-recommends redis-server    macOS: brew install redis\n\
     Then run this again; no server needs to run, the tests start their own.";

/// A free port can be taken between the moment we look and the moment Postgres binds it.
const START_ATTEMPTS: u32 = 3;

/// Arguments: folder of the programs, port.
const GUARDIAN: &str = r#"
set -u
bin=$1 port=$2
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
    "$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync &&
    "$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/log" --timeout=60 --wait --options="-p $port \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off" start
} >"$dir/start" 2>&1 || { cat "$dir/start" "$dir/log" >&2 2>/dev/null; exit 1; }
echo ready
read -r _ || :
"#;

/// `cargo xtask services`: runs until Ctrl-C.
pub(crate) fn run() -> Result<ExitCode> {
    let mut postgres = Postgres::start()?;
    println!("export {POSTGRES_URL}={}", postgres.url());
    println!("# Paste the line above in another terminal, then for example: cargo nextest run -p dynowatch-store");
    println!("# Ctrl-C stops Postgres and removes its data.");
    // `wait` closes the child's standard input, which is what keeps Postgres alive.
    let _keeps_it_alive = postgres.guardian.stdin.take();
    postgres.guardian.wait().context("the shell that keeps Postgres")?;
    bail!("Postgres was stopped from outside");
}

/// A running server. Dropping it stops the server and waits for that.
pub(crate) struct Postgres {
    guardian: Child,
    port: u16,
}

impl Postgres {
    /// Installs Postgres if it is missing and that is possible here, then starts it.
    pub(crate) fn start() -> Result<Self> {
        let bin = match find_programs() {
            Some(bin) => bin,
            None => {
                packages::install("postgresql", POSTGRES_WANTED)?;
                find_programs().context("Postgres is installed, but neither initdb nor pg_ctl is to be found")?
            }
        };
        let mut problem = String::new();
        for _ in 0..START_ATTEMPTS {
            match Self::start_in(&bin, free_port()?)? {
                Ok(postgres) => {
                    println!("xtask: Postgres of {} on 127.0.0.1:{}", bin.display(), postgres.port);
                    return Ok(postgres);
                }
                Err(output) => problem = output,
            }
        }
        bail!("Postgres does not start:\n{}", problem.trim_end())
    }

    /// A URL with the right to create databases.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The inner error is what initdb and Postgres printed.
    fn start_in(bin: &Path, port: u16) -> Result<Result<Self, String>> {
        // Postgres refuses to run as root; the packages bring a user for it.
        let mut shell = if is_root() {
            let mut runuser = Command::new("runuser");
            runuser.args(["--user", "postgres", "--", "/bin/sh"]);
            runuser
        } else {
            Command::new("/bin/sh")
        };
        let mut guardian = shell
            .args(["-c", GUARDIAN, "postgres-for-tests"])
            .arg(bin)
            .arg(port.to_string())
            // The user `postgres` may not be allowed to enter ours.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {shell:?}"))?;

        let mut line = String::new();
        if let Some(stdout) = guardian.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line.trim() == "ready" {
            return Ok(Ok(Self { guardian, port }));
        }
        let mut problem = String::new();
        if let Some(mut stderr) = guardian.stderr.take() {
            stderr.read_to_string(&mut problem)?;
        }
        guardian.wait()?;
        Ok(Err(problem))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        if let Err(error) = self.guardian.wait() {
            eprintln!("xtask: cannot wait for Postgres to stop: {error}");
        }
    }
}

/// Installs Prometheus if it is missing and that is possible here. Tests start it themselves: few need one.
pub(crate) fn ensure_prometheus() -> Result<()> {
    let is_there = || command::succeeds(Command::new("prometheus").arg("--version"));
    if !is_there() {
        packages::install("prometheus", PROMETHEUS_WANTED)?;
        anyhow::ensure!(is_there(), "Prometheus is installed, but the program `prometheus` does not run");
    }
    Ok(())
}

/// Installs Redis if it is missing and that is possible here. Tests start it themselves, each in its own way.
pub(crate) fn ensure_redis() -> Result<()> {
    let runs = |program: &str| command::succeeds(Command::new(program).arg("--version"));
    let is_there = || runs("redis-server") && runs("redis-cli");
    if !is_there() {
        packages::install("redis-server", REDIS_WANTED)?;
        anyhow::ensure!(is_there(), "Redis is installed, but `redis-server` or `redis-cli` does not run");
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// The folder with `initdb` and `pg_ctl`: the newest version in a distribution's place, then what `pg_config` says,
/// then the path.
fn find_programs() -> Option<PathBuf> {
    let mut candidates = Vec::new();
    for folder in POSTGRES_FOLDERS {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            candidates.push((version_of(&entry.file_name().to_string_lossy()), entry.path().join("bin")));
        }
    }
    candidates.sort();
    let in_usual_places = candidates.into_iter().rev().map(|(_, bin)| bin);
    let by_pg_config =
        command::output(Command::new("pg_config").arg("--bindir")).ok().map(|bin| PathBuf::from(bin.trim()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    in_usual_places
        .chain(by_pg_config)
        .chain(std::env::split_paths(&path))
        .find(|bin| bin.join("initdb").is_file() && bin.join("pg_ctl").is_file())
}

/// The number in "15", "postgresql@16"; 0 without one.
fn version_of(folder: &str) -> u32 {
    folder.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn the_newest_postgres_is_the_highest_number_not_the_last_name() {
        for (folder, version) in [("9", 9), ("15", 15), ("postgresql@16", 16), ("share", 0)] {
            assert_eq!(version_of(folder), version, "{folder}");
        }
    }
}
