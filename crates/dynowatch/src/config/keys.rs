//! Every key that a configuration file may hold. The readers refuse what is not here, and tests hold the example file
//! and the documentation against it.

use super::check_kind::keys_of_kinds;

pub(super) const FILE: &[&str] = &[
    "server",
    "store",
    "drain",
    "defaults",
    "rule_pack",
    "limits",
    "sign_in",
    "oidc",
    "remote_write",
    "apps",
    "receivers",
    "rules",
    "prober",
    "checks",
    "maintenance",
];
pub(super) const SERVER: &[&str] = &["listen", "public_url", "environment"];
pub(super) const STORE: &[&str] = &["url", "metrics_bytes_max"];
pub(super) const DRAIN: &[&str] = &["enabled", "body_bytes_max"];
pub(super) const DEFAULTS: &[&str] = &["receivers", "cooldown", "resolve_after", "severity", "send_resolved"];
pub(super) const RULE_PACK: &[&str] = &["enabled", "disable", "receivers", "rules"];
pub(super) const REMOTE_WRITE: &[&str] =
    &["url", "url_env", "username", "password_env", "token_env", "interval", "labels"];
pub(super) const LIMITS: &[&str] =
    &["apps", "groups_per_rule", "drain_requests", "api_token_requests_per_min", "api_address_requests_per_min"];
pub(super) const SIGN_IN: &[&str] = &["trust_forwarded"];
pub(super) const OIDC: &[&str] = &["issuer", "client_id", "name", "scopes", "groups_claim", "default_role", "roles"];
pub(super) const APP: &[&str] = &["name", "drain_tokens"];
pub(super) const RECEIVER: &[&str] = &["name", "slack", "webhook", "log"];
pub(super) const SLACK: &[&str] = &["channel", "token_env"];
pub(super) const WEBHOOK: &[&str] = &["url", "url_env", "secret_env"];
pub(super) const LOG: &[&str] = &["path"];
pub(super) const RULE: &[&str] = &[
    "name",
    "match",
    "count",
    "ratio",
    "absence",
    "metric",
    "value",
    "clear",
    "aggregation",
    "percent_of",
    "rate_per",
    "no_data",
    "sources",
    "labels",
    "window",
    "requests_min",
    "lively",
    "group_by",
    "for",
    "cooldown",
    "resolve_after",
    "severity",
    "runbook",
    "receivers",
    "send_resolved",
    "apps",
    "enabled",
];
pub(super) const MATCH: &[&str] =
    &["code", "kind", "source", "process", "dyno", "text", "regex", "status", "path_prefix"];
pub(super) const LIVELY: &[&str] = &["lines", "within"];

pub(super) const PROBER: &[&str] = &["allow_networks", "control_targets", "receivers"];
/// Those of a check of whatever kind; [`super::check_kind`] has those of each kind.
const CHECK: &[&str] = &[
    "name",
    "kind",
    "app",
    "every",
    "every_when_suspect",
    "timeout",
    "assert",
    "failures",
    "failing_for",
    "recoveries",
    "recovering_for",
    "flapping",
    "tell_degraded",
    "receivers",
    "severity",
    "send_resolved",
    "runbook",
    "parent",
    "paused",
    "public",
];
pub(super) const FLAPPING: &[&str] = &["transitions", "window", "quiet"];
pub(super) const MAINTENANCE: &[&str] =
    &["name", "checks", "apps", "all", "at", "weekly", "cron", "for", "time_zone", "reason"];

/// Keys that hold a table or a list of tables, with what may stand in it.
const TABLES: &[(&str, &[&str])] = &[
    ("server", SERVER),
    ("store", STORE),
    ("drain", DRAIN),
    ("defaults", DEFAULTS),
    ("rule_pack", RULE_PACK),
    ("limits", LIMITS),
    ("remote_write", REMOTE_WRITE),
    ("sign_in", SIGN_IN),
    ("oidc", OIDC),
    ("apps", APP),
    ("receivers", RECEIVER),
    ("receivers.slack", SLACK),
    ("receivers.webhook", WEBHOOK),
    ("receivers.log", LOG),
    ("rules", RULE),
    ("rules.match", MATCH),
    ("rules.lively", LIVELY),
    ("prober", PROBER),
    ("checks", CHECK),
    ("checks.flapping", FLAPPING),
    ("maintenance", MAINTENANCE),
];

/// Every key that a check of some kind may have.
pub(super) fn of_checks() -> Vec<&'static str> {
    CHECK.iter().copied().chain(keys_of_kinds()).collect()
}

/// Every key with the table it belongs to: `("rules.match", "code")`. Keys that hold such a table stand in it, too.
pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    let plain = TABLES.iter().flat_map(|(table, keys)| keys.iter().map(move |key| (*table, *key)));
    plain.chain(keys_of_kinds().into_iter().map(|key| ("checks", key)))
}
