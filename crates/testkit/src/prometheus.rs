//! A real Prometheus of one test's own: in a temporary folder, on a free loopback port, scraping nothing, taking remote
//! write. `cargo xtask test` installs the Debian package; without it a test that needs one fails and says so.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{Instant, MissedTickBehavior};

use crate::guardian::{free_port, guarded, program};
use crate::http_client;

const START_DEADLINE: Duration = Duration::from_secs(60);
/// A free port can be taken between the moment we look and the moment it is bound.
const PORT_ATTEMPTS: u32 = 3;
/// A running server. Dropping it ends it.
pub struct Prometheus {
    _guardian: Child,
    url: String,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    /// When the program is not installed, or does not start within a minute; shows what it printed.
    pub async fn start() -> Self {
        let binary = program("prometheus", "prometheus");
        let mut problem = String::new();
        for _ in 0..PORT_ATTEMPTS {
            match Self::try_start(&binary).await {
                Ok(prometheus) => return prometheus,
                Err(output) => problem = output,
            }
            if !problem.contains("in use") {
                break;
            }
        }
        panic!("Prometheus does not start:\n{problem}")
    }

    /// Where it takes remote write.
    #[must_use]
    pub fn write_url(&self) -> String {
        format!("{}/api/v1/write", self.url)
    }

    /// `data.result` of an instant query at a moment in seconds since 1970.
    ///
    /// # Panics
    /// When it does not answer, or with an error.
    pub async fn query(&self, expression: &str, at_s: i64) -> Value {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let url = format!("{}/api/v1/query?query={escaped}&time={at_s}", self.url);
        let answer = http_client::get(&url, &[]).await.expect("Prometheus answers").json();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].clone()
    }

    async fn try_start(binary: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (config, log) = (folder.path().join("prometheus.yml"), folder.path().join("log"));
        std::fs::write(&config, "global: {}\n").expect("the configuration is written");
        let port = free_port();
        let guardian = guarded(binary, &log)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-remote-write-receiver", "--log.level=error"])
            .spawn()
            .expect("a shell");
        let prometheus = Self { _guardian: guardian, url: format!("http://127.0.0.1:{port}"), _folder: folder };
        let deadline = Instant::now() + START_DEADLINE;
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let ready = http_client::get(&format!("{}/-/ready", prometheus.url), &[]).await;
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Ok(prometheus);
            }
            let output = std::fs::read_to_string(&log).unwrap_or_default();
            if output.contains("error") || Instant::now() > deadline {
                return Err(output);
            }
        }
    }
}
