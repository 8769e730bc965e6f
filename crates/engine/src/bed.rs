//! What unit tests of the loops start from: an engine on a new SQLite file, under a clock that is moved by hand, which knows
//! the app `shop` and has neither rules nor receivers unless a test says so. None of its loops runs. Scenarios that need
//! more than an engine play on the stage of `tests/it/harness.rs`.

use std::sync::Arc;

use dynowatch_domain::mask::Masker;
use dynowatch_notify::Receivers;
use dynowatch_store::{Store, StoreOptions};
use dynowatch_testkit::clock::TestClock;
use tempfile::TempDir;

use crate::checks::ChecksConfig;
use crate::{Engine, EngineOptions, Limits, Loops, Settings};

/// See the module.
pub(crate) struct Bed {
    pub(crate) engine: Engine,
    _loops: Loops,
    _folder: TempDir,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with(|_as_it_is| {}).await
    }

    /// The same with some options of the test's own.
    pub(crate) async fn with(change: impl FnOnce(&mut EngineOptions)) -> Self {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("dynowatch.db").display());
        let settings = Settings {
            rules: Vec::new(),
            apps: vec![("shop".to_owned(), Vec::new())],
            receivers: Receivers::build(&[], &[]).unwrap(),
            masker: Masker::default(),
            public_url: None,
            checks: ChecksConfig::default(),
            compose: None,
        };
        let mut options = EngineOptions {
            clock: Arc::new(TestClock::at("2026-05-07T08:00:00Z")),
            store: Store::open(&StoreOptions { exclusive: true, ..StoreOptions::new(&url) }).await.unwrap(),
            settings,
            limits: Limits::default(),
            commits: tokio::runtime::Handle::current(),
        };
        change(&mut options);
        let (engine, loops) = Engine::start(options).await.unwrap();
        Self { engine, _loops: loops, _folder: folder }
    }
}
