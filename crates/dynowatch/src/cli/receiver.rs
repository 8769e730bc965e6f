//! `receiver list|test`. A test goes straight to the receiver, past the outbox, so that the answer can be shown.

use dynowatch_domain::delivery::{Outcome, Outgoing};
use dynowatch_domain::{DeliveryId, NewId as _};
use dynowatch_engine::random::RandomIds;
use dynowatch_engine::test_notice;
use dynowatch_notify::Receivers;
use serde_json::json;

use super::config::kind;
use super::context::{Context, missing_sqlite};
use super::failure::Failure;
use crate::config::Config;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The receivers of the configuration and of the console, and how many rules name each
    List,
    /// Send a marked test message now and show the answer; exit code 1 when it is not accepted
    Test {
        /// Its name
        name: String,
    },
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    // The secret of the one receiver that is tested must be there; those of the others need not.
    let config = ctx.whole(ctx.load_offline()?).await?;
    match command {
        Command::List => list(ctx, &config),
        Command::Test { name } => test(ctx, &config, &name).await,
    }
}

fn list(ctx: &mut Context, config: &Config) -> Result<(), Failure> {
    let rules =
        |name: &String| config.rules.iter().filter(|rule| rule.enabled && rule.receivers.contains(name)).count();
    if ctx.json {
        let receivers = config.receivers.iter();
        let receivers: Vec<_> =
            receivers.map(|r| json!({ "name": r.name, "kind": r.kind.as_str(), "rules": rules(&r.name) })).collect();
        return ctx.out.json(&receivers);
    }
    if config.receivers.is_empty() {
        return ctx.out.line("no receivers: alerts are recorded and shown, but sent to nobody");
    }
    let rows: Vec<_> =
        config.receivers.iter().map(|r| vec![r.name.clone(), rules(&r.name).to_string(), kind(&r.kind)]).collect();
    ctx.out.table(&["RECEIVER", "RULES", "KIND"], &rows)
}

async fn test(ctx: &mut Context, config: &Config, name: &str) -> Result<(), Failure> {
    let spec = config.receivers.iter().find(|receiver| receiver.name == name).ok_or_else(|| {
        let known: Vec<&str> = config.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Failure::failed(format!("no receiver is named {name:?}; known are: {known}"))
    })?;
    let receivers = Receivers::build(std::slice::from_ref(spec), &config.known_secrets)
        .map_err(|error| Failure::wrong(error.to_string()))?;
    let now = ctx.now();
    let outgoing = Outgoing {
        id: DeliveryId(RandomIds.new_id(now)),
        receiver: name.to_owned(),
        notice: test_notice(name, now),
        possible_duplicate: false,
    };
    // Beside a store the test is noted there; without one there is nowhere to note it.
    if missing_sqlite(config).is_none() {
        let store = ctx.store(config).await?;
        store.audit(&ctx.actor().did("receiver.test", name), now).await?;
        store.close().await;
    }
    let outcome = receivers.deliver(&outgoing, now).await;
    let accepted = matches!(outcome, Outcome::Accepted { .. });
    if ctx.json {
        ctx.out.json(&json!({ "receiver": name, "outcome": outcome.as_str(), "detail": outcome.detail() }))?;
    } else {
        let what = match &outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::Unknown { .. } => {
                "NOT known to be accepted; a real message would be tried again, marked as a possible duplicate"
            }
            Outcome::Retry { .. } => "NOT accepted now; a real message would be tried again",
            Outcome::Misconfigured { .. } => "NOT accepted: something is set up wrongly",
            Outcome::Rejected { .. } => "REJECTED; a real message would be given up",
        };
        ctx.out.line(format!("{name}: {what}: {}", outcome.detail()))?;
    }
    if accepted { Ok(()) } else { Err(Failure::Said) }
}
