//! The simulated team's way into the demo: what Logplex does, once a second, over HTTP.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Clock;
use dynowatch_web::drain::credential_text;
use secrecy::SecretString;
use tokio::sync::watch;

use super::super::failure::Failure;
use crate::traffic::{Batch, QUIET_S, Team};

/// The story starts this long before the demo does, so that there is something to see at once and more to come.
pub(super) const BACKFILL: Duration = Duration::from_secs(60);
/// History is posted in pieces this long: Logplex's buffers hold only so many lines.
const BACKFILL_STEP: Duration = Duration::from_secs(5);
/// Quiet hours before the story enter in pieces, while the story goes on: metrics keep 1 MiB of open slots between two
/// flushes.
const QUIET_PIECE: Duration = Duration::from_secs(9 * 60);
/// A flush ahead of its time and a little more between two pieces.
const QUIET_EVERY: Duration = Duration::from_secs(6);
/// How often lines are posted.
const STEP_EVERY: Duration = Duration::from_secs(1);

/// The team with its past, and where its lines go.
pub(crate) struct Feed {
    team: Team,
    quiet: Team,
    url: String,
    secret: SecretString,
    clock: Arc<dyn Clock>,
    client: reqwest::Client,
    failing: bool,
}

impl Feed {
    /// A feed for the instance at `url`.
    pub(crate) fn new(seed: u64, url: &str, secret: &SecretString, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        let client = client.map_err(anyhow::Error::from)?;
        let (team, quiet) = (Team::new(seed), Team::quiet(seed));
        Ok(Self { team, quiet, url: url.to_owned(), secret: secret.clone(), clock, client, failing: false })
    }

    /// Posts until told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let start = self.clock.now();
        let story = start - BACKFILL;
        let mut at = story;
        while at < start {
            self.step(at.as_micros()).await;
            at = at + BACKFILL_STEP;
        }
        let mut past = story - Duration::from_secs(QUIET_S.unsigned_abs());
        self.quiet.step(past.as_micros());
        let mut pieces = tokio::time::interval(QUIET_EVERY);
        let mut ticks = tokio::time::interval(STEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                _ = ticks.tick() => self.step(self.clock.now().as_micros()).await,
                _ = pieces.tick(), if past < story => {
                    let until = story.min(past + QUIET_PIECE);
                    while past < until {
                        past = until.min(past + BACKFILL_STEP);
                        let batches = self.quiet.step(past.as_micros());
                        self.post_all(batches).await;
                    }
                }
            }
        }
    }

    async fn step(&mut self, now_us: i64) {
        let batches = self.team.step(now_us);
        self.post_all(batches).await;
    }

    async fn post_all(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            let app = batch.app;
            let problem = match self.post(batch).await {
                Ok(204) => None,
                Ok(status) => Some(format!("answered {status}")),
                Err(error) => Some(error.without_url().to_string()),
            };
            if let Some(problem) = problem.as_ref().filter(|_| !self.failing) {
                tracing::warn!(app, problem, "the demo's lines are not taken");
            }
            self.failing = problem.is_some();
        }
    }

    async fn post(&self, batch: Batch) -> reqwest::Result<u16> {
        let Batch { drain_token, body, msg_count, frame_id, .. } = batch;
        let credential = credential_text(&self.secret, &drain_token).unwrap_or_default();
        let request = self
            .client
            .post(format!("{}/drain?drain_token={credential}", self.url))
            .header("content-type", "application/logplex-1")
            .header("logplex-msg-count", msg_count)
            .header("logplex-frame-id", frame_id)
            .header("logplex-drain-token", drain_token)
            .body(body);
        Ok(request.send().await?.status().as_u16())
    }
}
