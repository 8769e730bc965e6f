//! Servers as child processes, and what `/proc` knows about them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// `USER_HZ`, the unit of CPU time in `/proc`: 100 on every Linux that Rust runs on.
const TICKS_PER_S: u64 = 100;
/// A server that used less in one look than this has digested what it was sent.
const QUIET: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(300);
const START_LOOKS_MAX: u32 = 300;
const QUIET_LOOKS_MAX: u32 = 100;

/// How long a server may take to end by itself.
const END_LOOKS_MAX: u32 = 150;

/// A server of ours. Told to end when dropped, so that it may write what it has counted; killed if it does not.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Resident memory before the first request.
    pub(crate) rest_kib: u64,
    log: PathBuf,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Peak resident memory.
    pub(crate) peak_kib: u64,
    /// Resident memory now.
    pub(crate) resident_kib: u64,
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Server {
    /// Starts the server with its output in a file, and waits until it accepts connections.
    pub(crate) async fn spawn(command: &mut Command, address: SocketAddr, log: &Path) -> Result<Self> {
        ensure!(address.ip().is_loopback(), "this client only talks to loopback, not to {address}");
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let mut server = Server { child, address, rest_kib: 0, log: log.to_path_buf() };
        server.accepts().await?;
        server.rest_kib = server.quiet().await?.resident_kib;
        Ok(server)
    }

    async fn accepts(&mut self) -> Result<()> {
        for _ in 0..START_LOOKS_MAX {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("the server ended with {status}:\n{}", log.trim_end());
            }
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("nothing accepts at {} after 30 s; its output is in {}", self.address, self.log.display())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))
            .context("the server has gone, or this is not Linux")?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        Ok(Usage {
            cpu: cpu(&stat, 14)?,
            peak_kib: status_kib(&status, "VmHWM:")?,
            resident_kib: status_kib(&status, "VmRSS:")?,
        })
    }

    /// Waits until the server uses next to no CPU, so that work done after its answer is counted, too.
    pub(crate) async fn quiet(&self) -> Result<Usage> {
        let mut last = self.usage()?;
        for _ in 0..QUIET_LOOKS_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.usage()?;
            if now.cpu - last.cpu < QUIET {
                return Ok(now);
            }
            last = now;
        }
        bail!("the server at {} never goes quiet; its output is in {}", self.address, self.log.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let told = Command::new("kill").arg(self.pid().to_string()).status();
        for _ in 0..told.map_or(0, |_| END_LOOKS_MAX) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // Both fail only when it has ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of the children this process has waited for.
pub(crate) fn children_cpu() -> Result<Duration> {
    cpu(&fs::read_to_string("/proc/self/stat")?, 16)
}

/// User and system time from `/proc/PID/stat`: field `first` and the one after it, counted from 1 as in proc(5).
fn cpu(stat: &str, first: usize) -> Result<Duration> {
    // The program's name comes second, in parentheses, and may hold anything.
    let after_name = stat.rsplit_once(") ").context("no name in /proc/PID/stat")?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(first - 3);
    let mut next = || -> Result<u64> { Ok(fields.next().context("/proc/PID/stat is too short")?.parse()?) };
    Ok(Duration::from_millis((next()? + next()?) * (1_000 / TICKS_PER_S)))
}

fn status_kib(status: &str, key: &str) -> Result<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .with_context(|| format!("no {key} in /proc/PID/status"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 100 0 0 0 120 35 7 8 20 0 9 0 100 1 2";
        assert_eq!(cpu(stat, 14).unwrap(), Duration::from_millis(1_550));
        assert_eq!(cpu(stat, 16).unwrap(), Duration::from_millis(150));
        assert!(cpu("7 (a) S 1", 14).is_err());
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "Name:\tx\nVmHWM:\t   12345 kB\nVmRSS:\t    9876 kB\n";
        assert_eq!(status_kib(status, "VmHWM:").unwrap(), 12_345);
        assert_eq!(status_kib(status, "VmRSS:").unwrap(), 9_876);
        assert!(status_kib(status, "VmSwap:").is_err());
    }
}
