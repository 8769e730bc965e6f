//! What a new configuration changes, in words for the log, and what of it needs a restart.

use std::collections::BTreeMap;
use std::fmt::Debug;

use dynowatch_domain::check::target::shown_target;

use super::out::plural;
use crate::config::Config;

/// What differs and takes effect, one sentence each.
pub(crate) fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    let rules = |config: &Config| config.rules.iter().map(|rule| (rule.name.clone(), shown(rule))).collect();
    let receivers = |config: &Config| {
        let debug = config.receivers.iter();
        debug.map(|receiver| (receiver.name.clone(), shown(&receiver.kind))).collect()
    };
    let apps = |config: &Config| config.apps.iter().map(|app| (app.name.clone(), shown(&app.drain_tokens))).collect();
    named(&mut changes, "rule", &rules(old), &rules(new));
    named(&mut changes, "receiver", &receivers(old), &receivers(new));
    let checks = |config: &Config| {
        let checks = config.checks.checks.iter();
        checks.map(|check| (check.name.clone(), shown(check))).collect()
    };
    let windows = |config: &Config| {
        let windows = config.checks.windows.iter();
        windows.map(|window| (window.name.clone(), shown(window))).collect()
    };
    named(&mut changes, "app", &apps(old), &apps(new));
    named(&mut changes, "check", &checks(old), &checks(new));
    named(&mut changes, "maintenance window", &windows(old), &windows(new));
    let mut value = |what: &str, old: String, new: String| {
        if old != new {
            changes.push(format!("{what} was {old}, is {new}"));
        }
    };
    let none = || "unset".to_owned();
    value(
        "server.public_url",
        old.public_url.clone().unwrap_or_else(none),
        new.public_url.clone().unwrap_or_else(none),
    );
    let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let networks = |config: &Config| list(config.checks.allowed.iter().map(ToString::to_string).collect());
    let controls =
        |config: &Config| list(config.checks.controls.iter().map(|control| shown_target(&control.kind)).collect());
    value("prober.allow_networks", networks(old), networks(new));
    value("prober.control_targets", controls(old), controls(new));
    value("drain.enabled", old.drain.enabled.to_string(), new.drain.enabled.to_string());
    value("drain.body_bytes_max", old.drain.body_bytes_max.to_string(), new.drain.body_bytes_max.to_string());
    changes
}

/// What differs but is fixed while the process runs.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let values = |config: &Config| {
        [
            ("server.listen", config.listen.to_string()),
            ("server.environment", config.environment.clone().unwrap_or_else(|| "unset".to_owned())),
            ("store.url", config.database_url.to_string()),
            ("store.metrics_bytes_max", config.metrics_bytes_max.to_string()),
            ("remote_write", config.remote_write.as_ref().map_or_else(|| "unset".to_owned(), shown)),
            ("limits.apps", config.limits.apps.to_string()),
            ("limits.groups_per_rule", config.limits.groups_per_rule.to_string()),
            ("limits.drain_requests", config.limits.drain_requests.to_string()),
            ("limits.api_token_requests_per_min", config.limits.api_token_requests_per_min.to_string()),
            ("limits.api_address_requests_per_min", config.limits.api_address_requests_per_min.to_string()),
        ]
    };
    let how = |config: &Config| shown(&config.accounts);
    let accounts = (how(old) != how(new)).then(|| "[sign_in] and [oidc]".to_owned());
    let pairs = values(old).into_iter().zip(values(new));
    pairs
        .filter(|(old, new)| old != new)
        .map(|((key, old), (_, new))| format!("{key} ({old} to {new})"))
        .chain(accounts)
        .collect()
}

/// The new configuration with the old values of what is fixed.
pub(crate) fn in_force(old: &Config, mut new: Config) -> Config {
    new.listen = old.listen;
    new.environment.clone_from(&old.environment);
    new.database_url = old.database_url.clone();
    new.metrics_bytes_max = old.metrics_bytes_max;
    new.limits = old.limits;
    new.remote_write = old.remote_write.clone();
    new.accounts = old.accounts.clone();
    new
}

fn shown(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Names that came, went or mean something else now.
fn named(changes: &mut Vec<String>, what: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
    let came = new.keys().filter(|name| !old.contains_key(*name));
    let went = old.keys().filter(|name| !new.contains_key(*name));
    let other =
        new.iter().filter(|(name, value)| old.get(*name).is_some_and(|old| old != *value)).map(|(name, _)| name);
    for (how, names) in [("added", came.collect::<Vec<_>>()), ("removed", went.collect()), ("changed", other.collect())]
    {
        if let (false, some) = (names.is_empty(), names.iter().take(10).map(|name| name.as_str()).collect::<Vec<_>>()) {
            let more = if names.len() > some.len() { ", …" } else { "" };
            changes.push(format!("{} {how}: {}{more}", plural(names.len(), what), some.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MapEnv, parse};

    #[test]
    fn what_changed_is_named_and_what_needs_a_restart_apart() {
        let env = MapEnv::from([("HEROKU_LOG_DRAIN_HMAC_SECRET", "0123456789abcdef")]);
        let old = "[[apps]]\nname = \"a\"\n[[receivers]]\nname = \"file\"\nlog = {}\n\
                   [[rules]]\nname = \"mine\"\nmatch = { code = \"H12\" }\ncount = \"> 3\"\nwindow = \"5m\"\n";
        let new = "[server]\nlisten = \"127.0.0.1:9\"\n[limits]\napps = 5\n[drain]\nenabled = false\n[[apps]]\nname = \"b\"\n\
                   [[receivers]]\nname = \"file\"\nlog = { path = \"x\" }\n\
                   [[rules]]\nname = \"mine\"\nmatch = { code = \"H12\" }\ncount = \"> 4\"\nwindow = \"5m\"\n\
                   [prober]\nallow_networks = [\"::1\"]\ncontrol_targets = [\"a:1\"]\n\
                   [[checks]]\nname = \"port\"\nkind = \"tcp\"\nhost = \"a\"\nport = 1\n\
                   [[maintenance]]\nname = \"night\"\nall = true\ncron = \"0 4 * * *\"\nfor = \"10m\"\n";
        let (old, new) = (parse("f", old, &env).unwrap(), parse("f", new, &env).unwrap());
        assert_eq!(
            changes(&old, &new),
            [
                "1 rule changed: mine",
                "1 receiver changed: file",
                "1 app added: b",
                "1 app removed: a",
                "1 check added: port",
                "1 maintenance window added: night",
                "prober.allow_networks was none, is ::1/128",
                "prober.control_targets was none, is a:1",
                "drain.enabled was true, is false",
            ]
        );
        assert_eq!(
            needs_restart(&old, &new),
            ["server.listen (127.0.0.1:8080 to 127.0.0.1:9)", "limits.apps (10000 to 5)"]
        );
        assert!(needs_restart(&old, &in_force(&old, new)).is_empty());
    }
}
