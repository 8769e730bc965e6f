//! `deliveries list|show`: the outbox as operators see it.

use dynowatch_domain::DeliveryId;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_domain::mask::Masker;
use dynowatch_store::deliveries::{Attempt, Delivery, DeliveryFilter};
use serde_json::{Value, json};

use super::context::Context;
use super::failure::Failure;
use super::out::{when, when_any};
use crate::server::masker;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Newest first (the default)
    List(ListArgs),
    /// One message: what it says, and every attempt
    Show {
        /// Its id
        id: DeliveryId,
    },
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only in this state
    #[arg(long, value_parser = ["pending", "sent", "failed"])]
    state: Option<String>,
    /// Only to this receiver
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, args: Args) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let (store, masker) = (ctx.store(&config).await?, masker(&config));
    match args.command.unwrap_or(Command::List(args.list)) {
        Command::List(ListArgs { state, receiver, limit }) => {
            let state = state.as_deref().and_then(DeliveryState::named);
            let deliveries =
                store.deliveries(&DeliveryFilter { state, receiver, limit, ..DeliveryFilter::default() }).await?;
            list(ctx, &masker, &deliveries)
        }
        Command::Show { id } => {
            let (delivery, attempts) = store.delivery(id).await?;
            show(ctx, &masker, &delivery, &attempts)
        }
    }
}

fn list(ctx: &mut Context, masker: &Masker, deliveries: &[Delivery]) -> Result<(), Failure> {
    if ctx.json {
        return ctx.out.json(&deliveries.iter().map(|delivery| as_json(delivery, masker)).collect::<Vec<_>>());
    }
    if deliveries.is_empty() {
        return ctx.out.line("no messages");
    }
    ctx.out.line("STATE    SINCE (UTC)          TO, WHAT")?;
    for delivery in deliveries {
        let (state, at) = (delivery.state.as_str(), when(delivery.intended_at));
        let (kind, what) = (delivery.kind.as_str(), masker.mask(&delivery.notice.key));
        ctx.out.line(format!("{state:<7}  {at}  {}, {kind} {what}", delivery.receiver))?;
        let why = delivery.detail.as_deref().map(|why| format!("; {}", masker.mask(why))).unwrap_or_default();
        ctx.out.line(format!("         {}; attempts {}{why}", delivery.id, delivery.attempts))?;
    }
    Ok(())
}

/// A delivery as JSON.
pub(crate) fn as_json(delivery: &Delivery, masker: &Masker) -> Value {
    json!({
        "id": delivery.id,
        "alert": delivery.alert,
        "receiver": delivery.receiver,
        "kind": delivery.kind,
        "key": masker.mask(&delivery.notice.key),
        "title": masker.mask(&delivery.notice.title()),
        "state": delivery.state,
        "attempts": delivery.attempts,
        "intended_at": delivery.intended_at.to_string(),
        "next_attempt_at": (delivery.state == DeliveryState::Pending).then(|| delivery.next_attempt_at.to_string()),
        "finished_at": delivery.finished_at.map(|at| at.to_string()),
        "detail": delivery.detail.as_deref().map(|detail| masker.mask(detail)),
    })
}

fn show(ctx: &mut Context, masker: &Masker, delivery: &Delivery, attempts: &[Attempt]) -> Result<(), Failure> {
    if ctx.json {
        let mut value = as_json(delivery, masker);
        let attempts: Vec<_> = attempts.iter().map(|attempt| attempt_json(attempt, masker)).collect();
        if let Value::Object(map) = &mut value {
            map.insert("text".to_owned(), masker.mask(&delivery.notice.text()).into());
            map.insert("attempts_made".to_owned(), attempts.into());
        }
        return ctx.out.json(&value);
    }
    let out = &mut ctx.out;
    out.line(format!("{} to {}: {}", delivery.id, delivery.receiver, delivery.state.as_str()))?;
    out.line(format!("since {} UTC, ended {}", when(delivery.intended_at), when_any(delivery.finished_at)))?;
    if delivery.state == DeliveryState::Pending {
        out.line(format!("next attempt {} UTC", when(delivery.next_attempt_at)))?;
    }
    if let Some(detail) = &delivery.detail {
        out.line(masker.mask(detail))?;
    }
    out.line("")?;
    // The notice is masked and its line breaks are ours, but a text in it may hold one: each line is made inert.
    out.text(&masker.mask(&delivery.notice.text()))?;
    out.line("")?;
    for attempt in attempts {
        let outcome = attempt.outcome.as_deref().unwrap_or("outcome unknown");
        let detail = attempt.detail.as_deref().map(|detail| format!(": {}", masker.mask(detail))).unwrap_or_default();
        out.line(format!("attempt {} at {} UTC: {outcome}{detail}", attempt.number, when(attempt.started_at)))?;
    }
    Ok(())
}

fn attempt_json(attempt: &Attempt, masker: &Masker) -> Value {
    json!({
        "number": attempt.number,
        "started_at": attempt.started_at.to_string(),
        "finished_at": attempt.finished_at.map(|at| at.to_string()),
        "outcome": attempt.outcome,
        "detail": attempt.detail.as_deref().map(|detail| masker.mask(detail)),
    })
}
