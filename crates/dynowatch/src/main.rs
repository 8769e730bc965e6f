//! The `dynowatch` binary. All of it is in the library, where tests reach it.

use std::process::ExitCode;

/// The allocator of the whole process, SQLite included. Against glibc's it saves CPU time of a busy drain, and keeps less memory
/// between bursts (docs/performance.md); `.cargo/config.toml` holds its settings.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    dynowatch::cli::main()
}
