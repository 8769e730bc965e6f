//! The log receiver: plain text, appended to a file or printed. For demos and tests, and as a last resort beside a
//! chat. A file is kept under [`FILE_BYTES_MAX`] with one older copy beside it, so a storm cannot fill the disk.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::{Outcome, Outgoing};

use crate::channel::{Attempt, Channel};
use crate::inert::inert_notice;

/// A longer file is renamed to `NAME.1` before the next message.
const FILE_BYTES_MAX: u64 = 10 << 20;

/// A file or standard output.
pub(crate) struct Log {
    path: Option<PathBuf>,
    file_bytes_max: u64,
    /// One writer at a time: messages do not interleave, and a file is rotated once.
    writing: Arc<Mutex<()>>,
}

impl Log {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { path, file_bytes_max: FILE_BYTES_MAX, writing: Arc::default() }
    }

    async fn attempt(&self, outgoing: &Outgoing, now: Timestamp) -> Outcome {
        let text = render(outgoing, now);
        let (path, file_bytes_max, writing) = (self.path.clone(), self.file_bytes_max, Arc::clone(&self.writing));
        let place = path.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
        let written = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = writing.lock().unwrap_or_else(PoisonError::into_inner);
            match path {
                Some(path) => append(&path, text.as_bytes(), file_bytes_max),
                None => print(text.as_bytes()),
            }
        })
        .await;
        match written {
            Ok(Ok(())) => Outcome::Accepted { detail: format!("written to {place}") },
            Ok(Err(error)) => failure(&place, &error),
            Err(error) => Outcome::Retry { detail: format!("{place}: {error}"), retry_after: None },
        }
    }
}

impl Channel for Log {
    fn kind(&self) -> &'static str {
        "log"
    }

    fn deliver<'a>(&'a self, outgoing: &'a Outgoing, now: Timestamp) -> Attempt<'a> {
        Box::pin(self.attempt(outgoing, now))
    }
}

/// A path or a permission is somebody's to mend; a full disk may empty itself.
fn failure(place: &str, error: &io::Error) -> Outcome {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    let detail = format!("{place}: {error}");
    match error.kind() {
        IsADirectory | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem => {
            Outcome::Misconfigured { detail }
        }
        _ => Outcome::Retry { detail, retry_after: None },
    }
}

fn append(path: &Path, text: &[u8], file_bytes_max: u64) -> io::Result<()> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    let mut file = open()?;
    let metadata = file.metadata()?;
    // Pipes and devices have nothing to rotate.
    if metadata.is_file() && metadata.len() > 0 && metadata.len() + text.len() as u64 > file_bytes_max {
        let mut older = path.as_os_str().to_owned();
        older.push(".1");
        std::fs::rename(path, older)?;
        file = open()?;
    }
    file.write_all(text)
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// One message: a separator that no content can forge (content never begins a line), the notice, an empty line.
fn render(outgoing: &Outgoing, now: Timestamp) -> String {
    let notice = inert_notice(&outgoing.notice);
    let duplicate = if outgoing.possible_duplicate { ", possible duplicate" } else { "" };
    format!(
        "==== {} to {}, delivery {}{duplicate}\n{}\n\n",
        now.for_people(),
        outgoing.receiver,
        outgoing.id,
        notice.text()
    )
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
