//! The calls and what they answer, lists by ranges among them.

use serde_json::{Value, json};

use super::Asked;
use super::account::{Account, FakeApp, FakeDrain};

/// An answer.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Value,
    /// Sent instead of the body.
    pub(super) raw: Option<&'static str>,
}

impl Reply {
    pub(super) fn ok(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body, raw: None }
    }

    pub(super) fn error(status: u16, id: &str, message: &str) -> Self {
        Self::ok(status, json!({ "id": id, "message": message, "url": "https://devcenter.heroku.com/errors" }))
    }

    fn not_found(what: &str) -> Self {
        Self::error(404, "not_found", &format!("Couldn't find that {what}."))
    }
}

/// Does what is asked.
pub(super) fn reply(account: &mut Account, asked: &Asked, page_max: usize) -> Reply {
    let path: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
    let by_id = |items: Vec<(String, Value)>| page(asked, items, "id", page_max);
    match (asked.method.as_str(), path.as_slice()) {
        ("GET", ["apps"]) => by_id(account.apps.iter().map(|app| (app.id.to_string(), app.json())).collect()),
        ("GET", ["addons"]) => by_id(account.apps.iter().flat_map(FakeApp::addons_json).collect()),
        ("POST", ["apps", app, "log-drains"]) => create_drain(account, app, &asked.body),
        (method, ["apps", identity, rest @ ..]) => {
            let Some(app) = account.find(identity) else { return Reply::not_found("app") };
            match (method, rest) {
                ("GET", []) => Reply::ok(200, app.json()),
                ("GET", ["formation"]) => by_id(app.formation_json()),
                ("GET", ["dynos"]) => by_id(app.dynos_json()),
                ("GET", ["releases"]) => page(asked, app.releases_json(), "version", page_max),
                ("GET", ["slugs", slug]) => {
                    app.slug_json(slug).map_or_else(|| Reply::not_found("slug"), |slug| Reply::ok(200, slug))
                }
                ("GET", ["config-vars"]) => {
                    Reply::ok(200, app.vars.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect())
                }
                ("GET", ["log-drains"]) => {
                    by_id(app.drains.iter().map(|drain| (drain.id.to_string(), drain.json())).collect())
                }
                ("DELETE", ["log-drains", drain]) => delete_drain(app, drain),
                ("GET", ["features", name]) => Reply::ok(200, app.feature_json(name)),
                ("PATCH", ["features", name]) => set_feature(app, name, &asked.body),
                _ => unknown(),
            }
        }
        _ => unknown(),
    }
}

fn unknown() -> Reply {
    Reply::error(501, "not_implemented", "the fake knows no such call")
}

fn create_drain(account: &mut Account, identity: &str, body: &Value) -> Reply {
    let (id, token) = (account.id(), account.id());
    let Some(app) = account.find(identity) else { return Reply::not_found("app") };
    let url = body["url"].as_str().unwrap_or_default();
    if app.generation == Some("fir") || app.stack == "cnb" {
        return Reply::error(422, "invalid_params", "Log drains are not available for this app's generation.");
    }
    if app.drains.iter().any(|drain| drain.url == url) {
        // As the real one, it repeats what was sent.
        return Reply::error(422, "invalid_params", &format!("Url {url} has already been taken"));
    }
    let drain = FakeDrain { id, token: format!("d.{token}"), url: url.to_owned(), addon: None };
    let answer = Reply::ok(201, drain.json());
    app.drains.push(drain);
    answer
}

fn delete_drain(app: &mut FakeApp, identity: &str) -> Reply {
    let found = app.drains.iter().position(|drain| drain.id.to_string() == identity || drain.token == identity);
    match found {
        None => Reply::not_found("log drain"),
        Some(at) if app.drains[at].addon.is_some() => {
            Reply::error(403, "forbidden", "This drain belongs to an add-on.")
        }
        Some(at) => Reply::ok(200, app.drains.remove(at).json()),
    }
}

fn set_feature(app: &mut FakeApp, name: &str, body: &Value) -> Reply {
    app.features.retain(|on| on != name);
    if body["enabled"] == true {
        app.features.push(name.to_owned());
    }
    Reply::ok(200, app.feature_json(name))
}

/// One page of a list that is sorted by `field`, as its `Range` asks: `id ]from..; max=2, order=desc`.
fn page(asked: &Asked, mut items: Vec<(String, Value)>, field: &str, page_max: usize) -> Reply {
    let range = asked.headers.get("range").and_then(|range| range.to_str().ok()).unwrap_or("id ..");
    let Some((by, rest)) = range.split_once(' ') else { return bad_range() };
    if by != field && by != "id" {
        return bad_range();
    }
    let mut parts = rest.split([';', ',']).map(str::trim);
    let from = parts.next().and_then(|span| span.split_once("..")).map(|(from, _)| from);
    let Some(from) = from else { return bad_range() };
    let (mut max, mut descending) = (200, false);
    for part in parts.filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("max", n)) => match n.parse() {
                Ok(n @ 1..=1_000) => max = n,
                _ => return bad_range(),
            },
            Some(("order", order)) => descending = order == "desc",
            _ => return bad_range(),
        }
    }
    items.sort_by(|(a, _), (b, _)| if descending { b.cmp(a) } else { a.cmp(b) });
    let key = |text: &str| {
        text.parse::<u32>()
            .map_or_else(|_| text.to_owned(), |n| if field == "version" { format!("{n:010}") } else { text.to_owned() })
    };
    if let Some(after) = from.strip_prefix(']') {
        let after = key(after);
        items.retain(|(id, _)| if descending { *id < after } else { *id > after });
    }
    let size = usize::min(max, page_max);
    let more = items.len() > size;
    items.truncate(size);
    let last = items.last().map(|(id, _)| id.trim_start_matches('0').to_owned()).unwrap_or_default();
    let mut reply = Reply::ok(if more { 206 } else { 200 }, items.into_iter().map(|(_, item)| item).collect());
    reply.headers.push(("accept-ranges", format!("id, {field}")));
    if more {
        let last = if field == "version" {
            last
        } else {
            reply
                .body
                .as_array()
                .and_then(|all| all.last())
                .map_or(last, |item| item["id"].as_str().unwrap_or_default().to_owned())
        };
        let order = if descending { ", order=desc" } else { "" };
        reply.headers.push(("next-range", format!("{by} ]{last}..; max={max}{order}")));
    }
    reply
}

fn bad_range() -> Reply {
    Reply::error(416, "requested_range_not_satisfiable", "The range is none.")
}
