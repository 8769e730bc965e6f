//! Messages on their way out. Claims due deliveries from the store, hands them to their receivers, and stores what came of
//! it. Owns who is busy: a slow receiver has its own few places and delays no other. Retry times are `domain::delivery`'s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynowatch_domain::DeliveryId;
use dynowatch_domain::delivery::{self, Next, Outcome};
use dynowatch_store::StoreError;
use dynowatch_store::deliveries::Claimed;
use tokio::task::JoinSet;

use crate::apps::lock;
use crate::random::jitter;
use crate::{Engine, Shared};

/// Messages on their way to one receiver at a time.
pub const IN_FLIGHT_PER_RECEIVER_MAX: usize = 4;
/// Messages claimed at a time: no more than one receiver may have on their way, since all of them may be for one.
const CLAIM_MAX: u32 = IN_FLIGHT_PER_RECEIVER_MAX as u32;
/// How often due deliveries are looked for, besides when some are known to be due.
pub const SEND_PASS_EVERY: Duration = Duration::from_secs(1);
/// How often a result is offered to a store that is away before the attempt is left to count as unknown.
const RESULT_TRIES_MAX: u32 = 20;

/// Who is busy, and what came of messages, for `/metrics`.
#[derive(Default)]
pub(crate) struct Sending {
    in_flight: Mutex<HashMap<String, usize>>,
    results: Mutex<HashMap<(String, &'static str), u64>>,
}

impl Engine {
    /// Sends what is due and waits for every result. Returns how many attempts were made.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn send_pass(&self) -> Result<usize, StoreError> {
        let mut tasks = JoinSet::new();
        let mut attempts = 0;
        loop {
            let claimed = self.spawn_due(&mut tasks).await?;
            attempts += claimed;
            if claimed == 0 && tasks.is_empty() {
                return Ok(attempts);
            }
            if claimed == 0 {
                joined(tasks.join_next().await);
            }
        }
    }

    /// Claims due deliveries and sends each in a task of its own. Returns how many were claimed.
    pub(crate) async fn spawn_due(&self, tasks: &mut JoinSet<()>) -> Result<usize, StoreError> {
        let shared = &self.shared;
        let left = |n: usize| u32::try_from(IN_FLIGHT_PER_RECEIVER_MAX.saturating_sub(n)).unwrap_or(0);
        let places: Vec<(String, u32)> =
            lock(&shared.sending.in_flight).iter().map(|(name, n)| (name.clone(), left(*n))).collect();
        let claimed =
            shared.store.claim_deliveries(shared.clock.now(), &shared.process.to_string(), CLAIM_MAX, &places).await?;
        let count = claimed.len();
        for one in claimed {
            *lock(&shared.sending.in_flight).entry(one.outgoing.receiver.clone()).or_default() += 1;
            let shared = Arc::clone(shared);
            tasks.spawn(async move { send(&shared, one).await });
        }
        Ok(count)
    }

    /// Attempts so far, by receiver and outcome.
    #[must_use]
    pub fn delivery_results(&self) -> Vec<(String, &'static str, u64)> {
        let results = lock(&self.shared.sending.results);
        let mut all: Vec<_> = results.iter().map(|((receiver, outcome), n)| (receiver.clone(), *outcome, *n)).collect();
        all.sort_unstable();
        all
    }
}

/// A task that panicked has left its delivery without a result: it is sent again when its lease runs out.
pub(crate) fn joined(result: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = result {
        tracing::error!(%error, "a delivery ended without a result; it is tried again");
    }
}

async fn send(shared: &Shared, claimed: Claimed) {
    let Claimed { outgoing, attempts: attempt, intended_at } = claimed;
    let _place = Place { shared, receiver: outgoing.receiver.clone() };
    let outcome = shared.receivers.load_full().deliver(&outgoing, shared.clock.now()).await;
    let now = shared.clock.now();
    let next = delivery::next(&outcome, attempt, intended_at, now, jitter());
    match &next {
        Next::Sent => {
            tracing::info!(delivery = %outgoing.id, receiver = outgoing.receiver, attempt, "message delivered")
        }
        Next::At(at) => {
            tracing::warn!(delivery = %outgoing.id, receiver = outgoing.receiver, attempt, outcome = outcome.as_str(), detail = outcome.detail(), again_at = %at, "message not delivered yet")
        }
        Next::Failed(why) => {
            tracing::error!(delivery = %outgoing.id, receiver = outgoing.receiver, attempt, why, "message failed for good")
        }
    }
    *lock(&shared.sending.results).entry((outgoing.receiver.clone(), outcome.as_str())).or_default() += 1;
    finish(shared, outgoing.id, attempt, &outcome, &next).await;
}

/// A message on its way takes one of its receiver's places, until it ends in whatever way.
struct Place<'a> {
    shared: &'a Shared,
    receiver: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut in_flight = lock(&self.shared.sending.in_flight);
        if let Some(n) = in_flight.get_mut(&self.receiver) {
            *n -= 1;
        }
        in_flight.retain(|_, n| *n > 0);
    }
}

async fn finish(shared: &Shared, id: DeliveryId, attempt: u32, outcome: &Outcome, next: &Next) {
    for try_number in 1..=RESULT_TRIES_MAX {
        let now = shared.clock.now();
        match shared.store.finish_attempt(id, attempt, outcome, next, now).await {
            Ok(true) => return,
            Ok(false) => {
                tracing::warn!(delivery = %id, attempt, "another process had taken this delivery over");
                return;
            }
            Err(error) if error.is_retryable() && try_number < RESULT_TRIES_MAX => {
                tokio::time::sleep(Duration::from_millis(500)).await
            }
            Err(error) => {
                tracing::error!(delivery = %id, attempt, %error, "the result of an attempt could not be stored; it counts as unknown");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dynowatch_notify::{ReceiverKind, ReceiverSpec, Receivers};
    use dynowatch_testkit::http_fake::Behaviour;
    use dynowatch_testkit::webhook_sink::WebhookSink;

    use super::*;
    use crate::bed::Bed;

    #[tokio::test]
    async fn no_receiver_has_more_than_four_on_their_way() {
        let (slow, quick) = (WebhookSink::start().await, WebhookSink::start().await);
        slow.otherwise(Behaviour::Hang);
        let spec = |name: &str, sink: &WebhookSink| ReceiverSpec {
            name: name.to_owned(),
            kind: ReceiverKind::Webhook { url: sink.url(), secret: None },
        };
        let specs = [spec("slow", &slow), spec("quick", &quick)];
        let bed = Bed::with(|options| options.settings.receivers = Receivers::build(&specs, &[]).unwrap()).await;
        let engine = &bed.engine;
        let mut tasks = JoinSet::new();
        let ops = dynowatch_domain::account::audit::Actor::here("ops");
        for _ in 0..3 {
            engine.test_receiver("slow", &ops).await.unwrap();
        }
        assert_eq!(engine.spawn_due(&mut tasks).await.unwrap(), 3);
        for receiver in ["slow", "slow", "slow", "slow", "quick"] {
            engine.test_receiver(receiver, &ops).await.unwrap();
        }
        assert_eq!(engine.spawn_due(&mut tasks).await.unwrap(), 2, "one place is left for slow, and four for quick");
        assert_eq!(lock(&engine.shared.sending.in_flight).get("slow"), Some(&IN_FLIGHT_PER_RECEIVER_MAX));
    }
}
