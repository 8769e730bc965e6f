//! A real Redis of one test's own: in a temporary folder, on a free loopback port, keeping nothing. `cargo xtask test`
//! installs the Debian package; without it a test that needs one fails and says so.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior};

use crate::guardian::{free_port, guarded, program};

/// Debian's, of both programs.
const PACKAGE: &str = "redis-server";
const START_DEADLINE: Duration = Duration::from_secs(30);
/// A free port can be taken between the moment we look and the moment it is bound.
const PORT_ATTEMPTS: u32 = 5;
/// A running server. Dropping it ends it.
pub struct Redis {
    guardian: Child,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts one with more arguments, such as `--requirepass secret`, and waits until it takes connections.
    ///
    /// # Panics
    /// When the program is not installed, or does not start within half a minute; shows what it printed.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), arguments).await
    }

    /// The same over TLS alone, with a certificate and key in files.
    ///
    /// # Panics
    /// See [`Self::start`].
    pub async fn start_tls(chain: &Path, key: &Path, arguments: &[&str]) -> Self {
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        let mut all = vec!["--tls-cert-file", &chain, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        all.extend_from_slice(arguments);
        all.push("--tls-port");
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), &all).await
    }

    /// Ends it, and starts one in the same folder: what it saved is there.
    ///
    /// # Panics
    /// See [`Self::start`].
    pub async fn restart(mut self, arguments: &[&str]) -> Self {
        drop(self.guardian.stdin.take());
        let _ended = self.guardian.wait().await;
        Self::start_in(self.folder, arguments).await
    }

    async fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let binary = program("redis-server", PACKAGE);
        for attempt in 1.. {
            let (guardian, port) = spawn(&binary, folder.path(), arguments);
            match wait_for(port, folder.path()).await {
                Ok(()) => return Self { guardian, port, folder },
                Err(output) => {
                    assert!(attempt < PORT_ATTEMPTS && output.contains("in use"), "Redis does not start:\n{output}");
                }
            }
        }
        unreachable!("the loop ends by returning or panicking")
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a command by `redis-cli`, on the plain port and as the default user, and returns what it printed.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn command(&self, words: &[&str]) -> String {
        let mut cli = Command::new(program("redis-cli", PACKAGE));
        cli.arg("-p").arg(self.port.to_string()).args(words);
        let output = cli.output().await.expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn spawn(binary: &Path, folder: &Path, arguments: &[&str]) -> (Child, u16) {
    let port = free_port();
    let mut command = guarded(binary, &folder.join("log"));
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(folder);
    // TLS has a port of its own; the plain one is then closed.
    if let Some((&"--tls-port", others)) = arguments.split_last() {
        command.args(others).args(["--port", "0", "--tls-port"]).arg(port.to_string());
    } else {
        command.args(arguments).arg("--port").arg(port.to_string());
    }
    (command.spawn().expect("a shell"), port)
}

async fn wait_for(port: u16, folder: &Path) -> Result<(), String> {
    let deadline = Instant::now() + START_DEADLINE;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let output = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        // Somebody else may listen there: the server's own word counts.
        if output.contains("Server initialized") && TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(());
        }
        if output.contains("Failed listening") || output.contains("FATAL") || Instant::now() > deadline {
            return Err(output);
        }
    }
}
