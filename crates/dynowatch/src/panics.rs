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
