//! `rules list|show|disable|enable`. Switching off goes to the store alone: a running server sees it within seconds and
//! closes what is open, knowing its own rules; this command may have been given another file. Rules that were made in the
//! console stand in the store, and are known here as they are there.

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::parse::{duration, show_duration};
use dynowatch_domain::rule::Rule;
use dynowatch_store::rules::RuleOverride;
use serde_json::json;

use super::context::{Context, missing_sqlite};
use super::failure::Failure;
use super::out::when;
use crate::config::Config;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// All rules: the built-in ones, those of the file and those of the console
    List,
    /// What a rule takes, when it fires, what that means and what to do first
    Show {
        /// Its name
        name: String,
    },
    /// Switch a rule off for a while; what is open under it is closed without a message
    Disable {
        /// Its name
        name: String,
        /// For how long, as in 2h or 1d12h
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
        lasting: Duration,
    },
    /// Switch a rule on again before its time
    Enable {
        /// Its name
        name: String,
    },
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(lasting) if lasting.is_zero() => Err("it must last some time, as in 2h".to_owned()),
        Ok(lasting) => Ok(lasting),
        Err(error) => Err(error.to_string()),
    }
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    let config = ctx.whole(ctx.load_offline()?).await?;
    match command {
        Command::List => list(ctx, &config).await,
        Command::Show { name } => show(ctx, &config, &name).await,
        Command::Disable { name, lasting } => {
            find(&config, &name)?;
            let store = ctx.store(&config).await?;
            let now = ctx.now();
            let until = now + lasting;
            let over =
                RuleOverride { rule: name.clone(), disabled_until: until, by_whom: ctx.operator(), created_at: now };
            let act = ctx.actor().did("rule.disable", &name).with(format!("until {until}"));
            store.disable_rule(&over, &act).await?;
            store.close().await;
            if ctx.json {
                return ctx.out.json(&json!({ "rule": name, "disabled_until": until.to_string() }));
            }
            ctx.out.line(format!("{name} is off until {}", until.for_people()))
        }
        Command::Enable { name } => {
            find(&config, &name)?;
            let store = ctx.store(&config).await?;
            let was_off = store.enable_rule(&name, &ctx.actor().did("rule.enable", &name), ctx.now()).await?;
            store.close().await;
            match (ctx.json, was_off) {
                (true, _) => ctx.out.json(&json!({ "rule": name, "was_off": was_off })),
                (false, true) => ctx.out.line(format!("{name} is on again")),
                (false, false) => ctx.out.line(format!("{name} was not switched off for a while")),
            }
        }
    }
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Rule, Failure> {
    config.rules.iter().find(|rule| rule.name == name).ok_or_else(|| {
        let near = config
            .rules
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(&a.name, name).total_cmp(&strsim::jaro_winkler(&b.name, name)));
        let near = near.map(|rule| format!("; did you mean {:?}?", rule.name)).unwrap_or_default();
        let file = config.file.as_deref().unwrap_or("the built-in rules (no configuration file was read)");
        Failure::failed(format!(
            "no rule in {file} or of the console is named {name:?}{near} `dynowatch rules list` shows all"
        ))
    })
}

/// Rules that are off for a while. Without a store none are.
async fn quieted(ctx: &Context, config: &Config) -> Result<BTreeMap<String, Timestamp>, Failure> {
    if missing_sqlite(config).is_some() {
        return Ok(BTreeMap::new());
    }
    let store = ctx.store(config).await?;
    let off = store.disabled_rules(ctx.now()).await?;
    store.close().await;
    Ok(off.into_iter().map(|off| (off.rule, off.disabled_until)).collect())
}

fn state(rule: &Rule, off: Option<&Timestamp>) -> String {
    match off {
        _ if !rule.enabled => "off".to_owned(),
        Some(until) => format!("off until {}", until.for_people()),
        None => "on".to_owned(),
    }
}

async fn list(ctx: &mut Context, config: &Config) -> Result<(), Failure> {
    let quieted = quieted(ctx, config).await?;
    if ctx.json {
        let rules: Vec<_> = config.rules.iter().map(|rule| rule_json(rule, quieted.get(&rule.name))).collect();
        return ctx.out.json(&rules);
    }
    let rows: Vec<_> = config
        .rules
        .iter()
        .map(|rule| {
            let off = quieted.get(&rule.name);
            let short = if off.is_some() { "quiet".to_owned() } else { state(rule, None) };
            let to = if rule.receivers.is_empty() { "nobody".to_owned() } else { rule.receivers.join(", ") };
            vec![short, rule.severity.as_str().to_owned(), rule.name.clone(), rule.condition.to_string(), to]
        })
        .collect();
    ctx.out.table(&["STATE", "SEVERITY", "RULE", "CONDITION", "TO"], &rows)?;
    for (name, until) in &quieted {
        ctx.out.line(format!("{name} is off until {} UTC", when(*until)))?;
    }
    Ok(())
}

fn rule_json(rule: &Rule, off: Option<&Timestamp>) -> serde_json::Value {
    json!({
        "name": rule.name,
        "origin": rule.origin,
        "state": if rule.enabled && off.is_none() { "on" } else { "off" },
        "disabled_until": off.map(ToString::to_string),
        "severity": rule.severity.as_str(),
        "condition": rule.condition.to_string(),
        "match": rule.matches,
        "group_by": rule.group_by,
        "for": show_duration(rule.pending_for),
        "cooldown": show_duration(rule.cooldown),
        "resolve_after": show_duration(rule.resolve_after),
        "send_resolved": rule.send_resolved,
        "receivers": rule.receivers,
        "apps": rule.apps,
        "runbook": rule.runbook,
        "guidance": rule.guidance,
    })
}

async fn show(ctx: &mut Context, config: &Config, name: &str) -> Result<(), Failure> {
    let rule = find(config, name)?;
    let quieted = quieted(ctx, config).await?;
    let off = quieted.get(name);
    if ctx.json {
        return ctx.out.json(&rule_json(rule, off));
    }
    let list = |items: Vec<String>, none: &str| if items.is_empty() { none.to_owned() } else { items.join(", ") };
    let guidance = &rule.guidance;
    let takes = serde_json::to_value(&rule.matches)?;
    let takes = takes
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty()));
    let takes = takes.map(|(part, value)| format!("{part} {value}"));
    let lines = [
        ("rule", rule.name.clone()),
        ("state", state(rule, off)),
        ("from", rule.origin.as_str().replace('_', "-")),
        ("takes", list(takes.collect(), "every line")),
        ("condition", rule.condition.to_string()),
        ("group by", list(rule.group_by.iter().map(|by| by.as_str().to_owned()).collect(), "app")),
        ("for", show_duration(rule.pending_for)),
        ("cool-down", show_duration(rule.cooldown)),
        (
            "resolves",
            format!(
                "after {} of calm{}",
                show_duration(rule.resolve_after),
                if rule.send_resolved { ", and says so" } else { "" }
            ),
        ),
        ("severity", rule.severity.as_str().to_owned()),
        ("apps", list(rule.apps.iter().map(|glob| glob.as_str().to_owned()).collect(), "all")),
        ("tells", list(rule.receivers.clone(), "nobody")),
        ("runbook", rule.runbook.clone().unwrap_or_default()),
        ("meaning", guidance.meaning.split_whitespace().collect::<Vec<_>>().join(" ")),
        ("do first", guidance.first_command.clone()),
        ("causes", guidance.usual_causes.join("; ")),
    ];
    lines
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .try_for_each(|(name, text)| ctx.out.line(format!("{name:<10}{text}")))
}
