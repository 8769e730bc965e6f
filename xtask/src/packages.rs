//! Debian packages that tests need, installed where we are root and apt-get exists, without starting any daemon.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command;

/// Installs a package; elsewhere an error that says what is `wanted`.
pub(crate) fn install(package: &str, wanted: &str) -> Result<()> {
    let has_apt = command::succeeds(Command::new("apt-get").arg("--version"));
    if !has_apt || !is_root() {
        bail!("{wanted}");
    }
    println!("xtask: installing the Debian package {package}");
    let _policy = DaemonPolicy::forbid_starts()?;
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", package][..]] {
        let mut apt = Command::new("apt-get");
        apt.args(["--quiet=2", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        let status = apt.status().with_context(|| format!("cannot run {apt:?}"))?;
        anyhow::ensure!(status.success(), "{apt:?} failed ({status})");
    }
    Ok(())
}

/// Whether we may install and must not run servers ourselves.
pub(crate) fn is_root() -> bool {
    command::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// While it lives, installed packages start no daemon on the default port. A policy that is already there is the
/// machine's own and stays as it is.
struct DaemonPolicy {
    ours: bool,
}

impl DaemonPolicy {
    const FILE: &str = "/usr/sbin/policy-rc.d";

    fn forbid_starts() -> Result<Self> {
        use std::fs::{File, Permissions};
        use std::io::{ErrorKind, Write};
        use std::os::unix::fs::PermissionsExt;

        match File::create_new(Self::FILE) {
            Ok(mut file) => {
                let policy = Self { ours: true };
                file.write_all(b"#!/bin/sh\nexit 101\n")?;
                file.set_permissions(Permissions::from_mode(0o755))?;
                Ok(policy)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).context(Self::FILE),
        }
    }
}

impl Drop for DaemonPolicy {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = std::fs::remove_file(Self::FILE)
        {
            eprintln!("xtask: cannot remove {}: {error}", Self::FILE);
        }
    }
}
