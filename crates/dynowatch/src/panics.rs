//! What is logged when something panics: where, and its words, masked as all words that may hold something from outside. The
//! standard library would print them as they are, into a log that may be drained.

use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use dynowatch_domain::mask::mask;
use dynowatch_engine::Engine;

/// What is kept of the words of a panic.
const WORDS_CHARS_MAX: usize = 500;

/// The engine of this process, whose masker knows its secrets.
static ENGINE: OnceLock<Engine> = OnceLock::new();

/// From now on panics are logged masked: known shapes of secrets, and once there is an engine, its own secrets, too.
pub(crate) fn log_masked() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(thread = thread.name(), place, "panicked: {}", words(panic));
    }));
}

/// Lets panics be masked by what this engine knows.
pub(crate) fn know(engine: &Engine) {
    // A second engine in a process can only be a test's own.
    let _first = ENGINE.set(engine.clone());
}

fn words(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("it said nothing");
    let text = ENGINE.get().map_or_else(|| mask(text).into_owned(), |engine| engine.masker().mask(text).into_owned());
    text.chars().take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_without_secrets() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        log_masked();
        tracing::subscriber::with_default(subscriber, || {
            let said = format!("no user in postgres://ann:s3cr3tpassw0rd@db.example/app {}", "x".repeat(2_000));
            std::panic::catch_unwind(|| panic!("{said}")).unwrap_err();
            std::panic::catch_unwind(|| std::panic::panic_any(7)).unwrap_err();
        });
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(said.contains("no user in postgres://") && said.contains("panics.rs:"), "{said}");
        assert!(said.contains("panicked: it said nothing") && !said.contains("s3cr3t"), "{said}");
        assert!(said.lines().all(|line| line.chars().count() < WORDS_CHARS_MAX + 300), "{said}");
    }
}
