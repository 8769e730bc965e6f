//! The real program as a child process: started with a clean environment in a folder of its own, killed in all the
//! ways a platform kills, never left behind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::guardian::free_port;
use crate::http_client;

/// A debug build on a loaded machine starts well within this.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Promised: SIGTERM ends the program in under 10 s. A slow machine gets some more.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
const RUN_DEADLINE: Duration = Duration::from_secs(60);
/// Output beyond this is dropped; a test that needs more tests too much.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// A free port can be taken between the moment we look and the moment the program binds it.
const PORT_ATTEMPTS: u32 = 3;

/// How to start the program. `binary` is `env!("CARGO_BIN_EXE_dynowatch")` of the caller.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    port: Option<u16>,
    ready_path: String,
}

impl Launch {
    /// Without arguments and variables, waiting for `/readyz`.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: None,
            port: None,
            ready_path: "/readyz".to_owned(),
        }
    }

    /// Appends an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable. Nothing is inherited, not even `PATH`.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Runs in this folder, so that a second start finds the first one's files. Otherwise in a new, empty one.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Listens on this port (a restart behind the same address). Otherwise on a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Counts as started when this path answers 200: `/healthz` for a program that cannot become ready.
    #[must_use]
    pub fn ready_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.ready_path);
        self
    }

    /// Starts the server (variable `PORT`) and waits until it is ready.
    ///
    /// # Panics
    /// When it ends before, or is not ready within 30 s; shows its standard error.
    pub async fn start(self) -> Dynowatch {
        for _ in 1..PORT_ATTEMPTS {
            match self.try_start().await {
                Ok(dynowatch) => return dynowatch,
                Err(problem) if self.port.is_none() && problem.to_lowercase().contains("in use") => {}
                Err(problem) => panic!("{problem}"),
            }
        }
        self.try_start().await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started, or runs longer than 60 s.
    pub async fn run(self) -> Finished {
        self.run_with_input(&[]).await
    }

    /// The same with bytes on standard input.
    ///
    /// # Panics
    /// When it cannot be started, or runs longer than 60 s.
    pub async fn run_with_input(self, input: &[u8]) -> Finished {
        let folder = Folder::of(&self);
        let mut child = self.command(folder.path()).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("a piped standard input");
        let input = input.to_vec();
        // Beside the reading: a program may answer before it has read all, and pipes are small.
        tokio::spawn(async move {
            // A program that does not want its input closes it early.
            let _written = tokio::io::AsyncWriteExt::write_all(&mut stdin, &input).await;
        });
        let output = tokio::time::timeout(RUN_DEADLINE, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("{:?} {:?} runs for over {RUN_DEADLINE:?}", self.binary, self.arguments))
            .expect("the program's output");
        Finished {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn try_start(&self) -> Result<Dynowatch, String> {
        let folder = Folder::of(self);
        let port = self.port.unwrap_or_else(free_port);
        let mut child = self
            .command(folder.path())
            .env("PORT", port.to_string())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.binary.display()))?;
        let stdout = Capture::of(child.stdout.take());
        let stderr = Capture::of(child.stderr.take());
        let mut dynowatch = Dynowatch { child, port, stdout, stderr, folder };
        dynowatch.wait_until_ready(&self.ready_path).await?;
        Ok(dynowatch)
    }
}

/// A command that ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All it printed.
    pub stdout: String,
    /// All it complained about.
    pub stderr: String,
}

impl Finished {
    /// The exit code; -1 when a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// What it printed, if it ended well.
    ///
    /// # Panics
    /// When it did not; shows its standard error.
    #[must_use]
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(self.status.success(), "{}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr);
        self.stdout
    }
}

/// A running server. Dropping it kills it.
pub struct Dynowatch {
    child: Child,
    port: u16,
    stdout: Capture,
    stderr: Capture,
    folder: Folder,
}

impl Dynowatch {
    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its working folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it logged so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The most memory that it has had so far, in bytes, as Linux counts it.
    ///
    /// # Panics
    /// When it has ended already, or this is not Linux.
    #[must_use]
    pub fn peak_memory_bytes(&self) -> u64 {
        let id = self.child.id().expect("a running program");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a status below /proc");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1_024
    }

    /// Waits until standard error holds this text.
    ///
    /// # Panics
    /// After 30 s; shows what it holds.
    pub async fn wait_for_stderr(&self, text: &str) {
        self.stderr.wait_for(text).await;
    }

    /// Waits until standard output holds this text.
    ///
    /// # Panics
    /// After 30 s; shows what it holds.
    pub async fn wait_for_stdout(&self, text: &str) {
        self.stdout.wait_for(text).await;
    }

    /// `kill -9`, and waits for the end. Nothing can be flushed.
    ///
    /// # Panics
    /// When the system refuses.
    pub async fn kill9(&mut self) {
        self.child.kill().await.expect("SIGKILL ends every child");
    }

    /// SIGTERM, then waits for the end; returns how it ended.
    ///
    /// # Panics
    /// When it still runs after 15 s (it is killed then).
    pub async fn sigterm(&mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.wait().await
    }

    /// Sends a signal by name (`HUP`), without waiting.
    ///
    /// # Panics
    /// When the program has ended already.
    pub async fn signal(&self, name: &str) {
        // Through a program, because a system call of our own would be unsafe code.
        let id = self.child.id().expect("a running program").to_string();
        let status = Command::new("/bin/kill").args(["-s", name, &id]).status().await.expect("/bin/kill");
        assert!(status.success(), "kill -s {name} {id}: {status}");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after 15 s.
    pub async fn wait(&mut self) -> ExitStatus {
        match tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await {
            Ok(status) => status.expect("the end of a child"),
            Err(_) => panic!("still running {STOP_DEADLINE:?} after it should have ended:\n{}", self.stderr()),
        }
    }

    async fn wait_until_ready(&mut self, path: &str) -> Result<(), String> {
        let url = format!("{}{path}", self.url());
        let deadline = Instant::now() + START_DEADLINE;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = "no answer".to_owned();
        loop {
            ticks.tick().await;
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                self.stderr.wait_for_end().await;
                return Err(format!("the program ended before it was ready ({status}):\n{}", self.stderr()));
            }
            match tokio::time::timeout_at(deadline, http_client::get(&url, &[])).await {
                Ok(Ok(answer)) if answer.status.is_success() => return Ok(()),
                Ok(Ok(answer)) => last = format!("{} {}", answer.status, answer.text()),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(format!("{url} is not ready after {START_DEADLINE:?} ({last}):\n{}", self.stderr()));
            }
        }
    }
}

/// The working folder: the caller's, or one that goes away with us.
enum Folder {
    Given(PathBuf),
    Own(TempDir),
}

impl Folder {
    fn of(launch: &Launch) -> Self {
        match &launch.folder {
            Some(folder) => Self::Given(folder.clone()),
            None => Self::Own(tempfile::tempdir().expect("a temporary folder")),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(folder) => folder,
            Self::Own(folder) => folder.path(),
        }
    }
}

/// A stream read to its end in the background.
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Sent to whenever bytes came; closed at the end of the stream.
    changed: watch::Receiver<()>,
}

impl Capture {
    fn of(stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let mut stream = stream.expect("a piped stream");
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (sender, changed) = watch::channel(());
        let captured = Arc::clone(&bytes);
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let mut captured = captured.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_BYTES_MAX.saturating_sub(captured.len());
                captured.extend_from_slice(&buffer[..length.min(room)]);
                drop(captured);
                sender.send_replace(());
            }
        });
        Self { bytes, changed }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    async fn wait_for(&self, text: &str) {
        let mut changed = self.changed.clone();
        let waiting = async {
            while !self.text().contains(text) {
                if changed.changed().await.is_err() {
                    // The end; every byte was looked at.
                    assert!(self.text().contains(text), "ended without {text:?}:\n{}", self.text());
                }
            }
        };
        if tokio::time::timeout(START_DEADLINE, waiting).await.is_err() {
            panic!("waited {START_DEADLINE:?} for {text:?}:\n{}", self.text());
        }
    }

    async fn wait_for_end(&self) {
        let mut changed = self.changed.clone();
        let waiting = async { while changed.changed().await.is_ok() {} };
        // A grandchild may hold the stream open; then what came so far must do.
        let _ended = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    }
}
