//! A real program of one test's own: finding it, a port for it, and a shell that stands between the test and the program and
//! waits for the end of its standard input, so that however the test ends, nothing is left running. What the program is
//! told and when it is ready is its own module's.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Arguments: the file for the output, the command.
const GUARDIAN: &str = r#"
log=$1; shift
"$@" >"$log" 2>&1 </dev/null & pid=$!
trap 'kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null' EXIT
read -r _ || :
"#;

/// The command that runs `binary` under a guardian, with its output in `log`; the binary's arguments are added to it.
/// Dropping the child's standard input ends both.
pub(crate) fn guarded(binary: &Path, log: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GUARDIAN, "guardian-for-tests"]).arg(log).arg(binary);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A loopback port that is free at this moment; it can be taken before it is bound, so starting is tried again.
pub(crate) fn free_port() -> u16 {
    let address = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    address.expect("a port").port()
}

/// Where a program of a Debian package is.
///
/// # Panics
/// When it is not installed: a test that needs it fails and says so.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin".into(), "/usr/local/bin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!(
                "this test needs {name}, which is not installed: run it by `cargo xtask test`, which installs Debian's \
                 package {package}, or put the program on the path"
            )
        })
}
