//! The key of a SQLite store that has none in its environment: a file beside the database, made at the first start, read by
//! its owner alone. Whoever copies the database alone cannot read what is sealed in it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use dynowatch_engine::random;

/// The key beside a database, made now if there is none.
///
/// # Errors
/// When the file cannot be read or made, others may read it, or it holds no key.
pub fn of(database: &Path) -> anyhow::Result<[u8; 32]> {
    let path = path_of(database);
    let make = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    match make {
        Ok(mut file) => {
            let key: [u8; 32] = random::bytes();
            let written = writeln!(file, "{}", HEXLOWER.encode(&key)).and_then(|()| file.sync_all());
            written.with_context(|| format!("{}: the key cannot be written", path.display()))?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(&path),
        Err(error) => Err(error).with_context(|| format!("{}: the key cannot be made", path.display())),
    }
}

fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}

fn read(path: &Path) -> anyhow::Result<[u8; 32]> {
    let file = File::open(path).with_context(|| format!("{}: the key cannot be read", path.display()))?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{}: others may read this key: `chmod 600` it", path.display());
    }
    let mut text = String::new();
    file.take(256).read_to_string(&mut text).with_context(|| format!("{}: no text", path.display()))?;
    let key = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok().and_then(|key| key.try_into().ok());
    key.with_context(|| {
        format!(
            "{}: this is no key of 64 hex digits; restore it, or remove it and set up authenticators anew",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_for_its_owner_and_refused_when_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("dynowatch.db");
        let key = of(&database).unwrap();
        assert_eq!(of(&database).unwrap(), key);
        let path = folder.path().join("dynowatch.db.key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(of(&database).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "nonsense").unwrap();
        assert!(of(&database).is_err());
    }
}
