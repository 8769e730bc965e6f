//! The kinds of line, for counting.

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What a line is, in one word. Names and order are stable: metrics carry the one, counters in arrays the other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($(#[doc = $doc])+ $name,)+ }

        impl Kind {
            /// Every kind, in the order of [`Kind::index`].
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)+];

            /// How many there are.
            pub const COUNT: usize = Kind::ALL.len();

            /// The kind's name in metrics, rules and summaries.
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$name => $text,)+ }
            }
        }
    };
}

kinds! {
    /// A request, or a router error.
    Router = "router",
    /// `Error Rnn` of a dyno.
    DynoError = "dyno_error",
    /// `State changed from X to Y`.
    DynoState = "dyno_state",
    /// `Process exited`.
    DynoExit = "dyno_exit",
    /// Any other step of a dyno's life.
    DynoEvent = "dyno_event",
    /// Load and memory of a dyno.
    RuntimeMetrics = "runtime_metrics",
    /// Metrics of a Postgres database.
    PostgresMetrics = "postgres_metrics",
    /// Metrics of a connection pooler.
    PgbouncerMetrics = "pgbouncer_metrics",
    /// Metrics of a Redis or Valkey store.
    RedisMetrics = "redis_metrics",
    /// Metrics that an app or another add-on prints in the same grammar.
    CustomMetrics = "custom_metrics",
    /// A release, deploy or rollback.
    Release = "release",
    /// Config vars set or removed.
    Config = "config",
    /// A formation scaled.
    Scale = "scale",
    /// A build's start or end.
    Build = "build",
    /// Any other line of the Heroku API.
    Api = "api",
    /// Logplex or log-shuttle lost or refused lines.
    LogLoss = "log_loss",
    /// A Postgres server's own log.
    PostgresLog = "postgres_log",
    /// Gunicorn's WORKER TIMEOUT.
    WorkerTimeout = "worker_timeout",
    /// Gunicorn: a worker was killed by SIGKILL.
    WorkerKilled = "worker_killed",
    /// A runtime that ran out of its heap.
    OutOfMemory = "out_of_memory",
    /// A request that the app's own server timed out (Rack::Timeout).
    RequestTimeout = "request_timeout",
    /// Any other line of an app or of an add-on.
    App = "app",
    /// A line of the platform that fits no grammar known here.
    HerokuOther = "heroku_other",
}

impl Kind {
    /// Position in [`Kind::ALL`], below [`Kind::COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
