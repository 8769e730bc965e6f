//! The receivers: where messages go, what became of them, and a test message on a button. Those of the console are made
//! and edited here; a secret is named by its environment variable, as in the file, and never shown.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use dynowatch_domain::account::Role;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_engine::objects::{ObjectError, Problem};
use dynowatch_store::deliveries::{DeliveryCount, DeliveryFilter};
use dynowatch_store::objects::{Object, ObjectKind};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::deliveries::{message_card, with_attempts};
use super::error::PageError;
use super::form::{self, Field, Kind, Typed, other_problems, typed};
use super::object::{self, delete_form, failed, may_edit};
use super::palette::encoded;
use super::parts::{State, copyable, empty, state};
use super::rules::{make_button, refused};
use super::shell::Head;
use super::view::View;
use crate::router::Web;
use crate::show::{grouped, shell_word, visible};
use crate::viewer::OperatorOnly;

/// Deliveries that a receiver's page shows.
const DELIVERIES_MAX: u32 = 5;

const NAME: Field = Field { key: "name", label: "Name", hint: "a-z, 0-9, - _ and .; rules use it", kind: Kind::Text };
const SLACK: [Field; 2] = [
    Field {
        key: "slack.channel",
        label: "Channel or person",
        hint: "The id at the end of its details, as in `C0123456789`",
        kind: Kind::Text,
    },
    Field {
        key: "slack.token_env",
        label: "Variable with the bot token",
        hint: "Its name; empty means `SLACK_BOT_TOKEN`",
        kind: Kind::Text,
    },
];
const WEBHOOK: [Field; 3] = [
    Field {
        key: "webhook.url",
        label: "URL",
        hint: "Where to post. Not shown again once it is saved; empty leaves it as it is",
        kind: Kind::Text,
    },
    Field {
        key: "webhook.url_env",
        label: "Or the variable with the URL",
        hint: "Its name, for a URL that holds a secret",
        kind: Kind::Text,
    },
    Field {
        key: "webhook.secret_env",
        label: "Variable with the signing secret",
        hint: "Its name; without it messages are not signed",
        kind: Kind::Text,
    },
];

/// The list.
pub(crate) async fn list(view: View) -> Result<Html<String>, PageError> {
    let receivers = view.web.engine.receivers();
    let counts = view.web.engine.store().delivery_counts().await?;
    let objects = view.web.engine.store().objects(ObjectKind::Receiver).await?;
    let rules = view.web.engine.rules();
    let unusable = view.web.engine.unusable_objects().await;
    Ok(view.page(&Head::new("Receivers", "/receivers"), &html! {
        div.title-row { h1 { "Receivers" } (make_button(&view, "/receivers/new", "New receiver")) }
        @for (_, name, problem) in unusable.iter().filter(|(kind, ..)| *kind == ObjectKind::Receiver) {
            ul.warnings { li { "The receiver " a href={ "/receivers/" (encoded(name)) "/edit" } { (visible(name)) } " of the console cannot be used: " (view.outside(problem)) } }
        }
        @if receivers.iter().next().is_none() {
            (empty("No receiver yet.", &html! { "Alerts are recorded and shown, but sent to nobody. Write " code { "[[receivers]]" } " into the configuration file, or make one here as an operator." }))
        } @else {
            table.data {
                thead { tr { th scope="col" { "Receiver" } th scope="col" { "Kind" } th.number.wide scope="col" { "Rules" } th.number scope="col" { "Waiting" } th.number scope="col" { "Sent" } th.number scope="col" { "Given up" } th.wide scope="col" { "From" } } }
                tbody {
                    @for receiver in receivers.iter() {
                        @let of = |state| count(&counts, &receiver.name, state);
                        @let failed = of(DeliveryState::Failed);
                        tr {
                            th scope="row" { a.row href={ "/receivers/" (encoded(&receiver.name)) } { (visible(&receiver.name)) } }
                            td { (receiver.kind()) }
                            td.number.wide { (rules.iter().filter(|rule| rule.receivers.contains(&receiver.name)).count()) }
                            td.number { (grouped(of(DeliveryState::Pending))) }
                            td.number { (grouped(of(DeliveryState::Sent))) }
                            td.number { @if failed > 0 { (state(State::Down, &grouped(failed))) } @else { "0" } }
                            td.wide.quiet { (from(&objects, &receiver.name)) }
                        }
                    }
                }
            }
        }
    }))
}

/// One receiver.
pub(crate) async fn show(view: View, Path(name): Path<String>) -> Result<Html<String>, PageError> {
    let receivers = view.web.engine.receivers();
    let receiver = receivers.get(&name).ok_or_else(|| PageError::not_found("There is no receiver of that name."))?;
    let store = view.web.engine.store();
    let objects = store.objects(ObjectKind::Receiver).await?;
    let is_ours = objects.iter().any(|object| object.name == name);
    let filter = DeliveryFilter { receiver: Some(name.clone()), limit: DELIVERIES_MAX, ..DeliveryFilter::default() };
    let deliveries = store.deliveries(&filter).await?;
    let messages = with_attempts(&view.web, &deliveries, DELIVERIES_MAX as usize).await?;
    let rules = view.web.engine.rules();
    let users: Vec<_> = rules.iter().filter(|rule| rule.receivers.contains(&name)).collect();
    let head = Head::new(&name, "/receivers").below(&[("/receivers", "Receivers")]);
    Ok(view.page(&head, &html! {
        div.title-row {
            h1 { (visible(&name)) " " span.quiet { (receiver.kind()) } }
            @if view.viewer.may(Role::Operator) {
                div.buttons {
                    @if is_ours { a.button href={ "/receivers/" (encoded(&name)) "/edit" } { "Edit" } }
                    form method="post" action={ "/receivers/" (encoded(&name)) "/test" } { (view.viewer.csrf_field()) button.primary type="submit" { "Send a test message" } }
                }
            }
        }
        div.columns {
            div.main-column {
                section {
                    h2 { "Newest deliveries" }
                    @if messages.is_empty() { p.quiet { "None yet." } }
                    @for message in &messages { (message_card(&view, message, true)) }
                    p { a href={ "/deliveries?receiver=" (encoded(&name)) } { "All its deliveries" } }
                }
            }
            aside aria-label="About this receiver" {
                section.card {
                    h2 { "Rules that send to it" }
                    @if users.is_empty() { p { "None. Name it in a rule, or in " code { "[defaults]" } " of the configuration file." } }
                    @else { p { @for (i, rule) in users.iter().enumerate() { @if i > 0 { ", " } a href={ "/rules/" (encoded(&rule.name)) } { (visible(&rule.name)) } } } }
                }
                section.card {
                    h2 { "From " (from(&objects, &name)) }
                    @if is_ours { p { "It was made in the console and lives in the database." } }
                    @else { p { "It stands in the configuration file under " code { "[[receivers]]" } " and is edited there." } }
                    p { "To try it out from a terminal:" }
                    (copyable(&format!("dynowatch receiver test {}", shell_word(&name))))
                }
            }
        }
    }))
}

/// Sends a test message and leads to what became of it.
pub(crate) async fn test(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Redirect, PageError> {
    let delivery = web.engine.test_receiver(&name, &viewer.actor()).await.map_err(refused)?;
    tracing::info!(by = format!("user:{}", viewer.name), receiver = name, %delivery, "test message intended");
    Ok(Redirect::to(&format!("/deliveries#{delivery}")))
}

/// An empty form.
pub(crate) async fn new(view: View) -> Result<Html<String>, PageError> {
    may_edit(&view)?;
    Ok(page(&view, None, "", &json!({}), &[]))
}

/// The form of a receiver of the console.
pub(crate) async fn edit(view: View, Path(name): Path<String>) -> Result<Html<String>, PageError> {
    may_edit(&view)?;
    let object = object::named(&view.web, ObjectKind::Receiver, &name).await?;
    Ok(page(&view, Some(&name), &name, &object.body, &[]))
}

/// Keeps a new one.
pub(crate) async fn create(
    view: View,
    OperatorOnly(_): OperatorOnly,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Response, PageError> {
    let name = typed(&all, "name").to_owned();
    save(&view, None, &name, body_of(&json!({}), &all)).await
}

/// Keeps a changed one.
pub(crate) async fn change(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Response, PageError> {
    let object = object::named(&view.web, ObjectKind::Receiver, &name).await?;
    save(&view, Some(&name), &name, body_of(&object.body, &all)).await
}

/// Forgets one; its name must be typed.
pub(crate) async fn delete(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Redirect, PageError> {
    object::forget(&web, &viewer, ObjectKind::Receiver, &name, &all).await
}

async fn save(view: &View, old: Option<&str>, name: &str, body: Value) -> Result<Response, PageError> {
    let by = view.viewer.actor();
    match view.web.engine.save_object(ObjectKind::Receiver, name, &body, &by, old.is_none()).await {
        Ok(()) => Ok(Redirect::to(&format!("/receivers/{}", encoded(name))).into_response()),
        Err(ObjectError::Wrong(problems)) => {
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(view, old, name, &body, &problems)).into_response())
        }
        Err(error) => Err(failed(error)),
    }
}

/// One kind at a time: what was typed for the other is dropped. A URL that is not typed again stays.
fn body_of(old: &Value, all: &Typed) -> Value {
    let mut body = json!({});
    let fields: &[Field] = if typed(all, "kind") == "slack" { &SLACK } else { &WEBHOOK };
    for field in fields {
        form::write(&mut body, field, typed(all, field.key));
    }
    let kept = &old["webhook"]["url"];
    if typed(all, "kind") != "slack"
        && kept.is_string()
        && typed(all, "webhook.url").is_empty()
        && typed(all, "webhook.url_env").is_empty()
    {
        form::put(&mut body, "webhook.url", kept.clone());
    }
    // A kind without a single value still is one: its reader says what is missing.
    if body.as_object().is_some_and(serde_json::Map::is_empty) {
        form::put(&mut body, if typed(all, "kind") == "slack" { "slack" } else { "webhook" }, json!({}));
    }
    body
}

fn page(view: &View, old: Option<&str>, name: &str, body: &Value, problems: &[Problem]) -> Html<String> {
    let title = old.map_or_else(|| "New receiver".to_owned(), |name| format!("Edit {name}"));
    let head = Head::new(&title, "/receivers").below(&[("/receivers", "Receivers")]);
    let keys: Vec<&str> = SLACK.iter().chain(&WEBHOOK).map(|field| field.key).chain(["name"]).collect();
    // A URL may hold a secret: it is written, never read.
    let shown = |field: &Field| if field.key == "webhook.url" { String::new() } else { form::shown(body, field) };
    let set = |fields: &[Field]| html! { @for field in fields { (form::field(field, &shown(field), problems)) } };
    let is_webhook = body.get("webhook").is_some();
    let action = old.map_or_else(|| "/receivers/new".to_owned(), |name| format!("/receivers/{}/edit", encoded(name)));
    view.page(&head, &html! {
        h1 { (visible(&title)) }
        form.form method="post" action=(action) {
            (view.viewer.csrf_field())
            (other_problems(problems, &keys))
            @if old.is_none() { (form::field(&NAME, name, problems)) }
            (kinds(is_webhook))
            fieldset.of-slack { legend { "Slack" } div.pair { (set(&SLACK)) } }
            fieldset.of-webhook { legend { "Webhook" } div.pair { (set(&WEBHOOK)) } }
            p.hint { "Secrets stay in the environment of dynowatch; here stand the names of their variables." }
            div.buttons { button.primary type="submit" { @if old.is_some() { "Save" } @else { "Make the receiver" } } a href="/receivers" { "Cancel" } }
        }
        @if let Some(name) = old { (delete_form(view, ObjectKind::Receiver, name, "Messages that wait for it are given up.")) }
    })
}

fn kinds(is_webhook: bool) -> Markup {
    html! {
        div.field {
            span.label #kind-label { "Kind" }
            div.choices role="radiogroup" aria-labelledby="kind-label" {
                label { input type="radio" name="kind" value="slack" checked[!is_webhook]; "Slack" }
                label { input type="radio" name="kind" value="webhook" checked[is_webhook]; "Webhook" }
            }
        }
    }
}

fn from(objects: &[Object], name: &str) -> &'static str {
    if objects.iter().any(|object| object.name == name) { "console" } else { "file" }
}

fn count(counts: &[DeliveryCount], receiver: &str, state: DeliveryState) -> u64 {
    counts.iter().filter(|count| count.receiver == receiver && count.state == state).map(|count| count.count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_written_and_kept_but_not_read() {
        let all = |pairs: &[(&str, &str)]| -> Typed {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let old = json!({ "webhook": { "url": "https://hook.example/secret" } });
        let cases = [
            (
                all(&[("kind", "webhook"), ("webhook.url", "")]),
                json!({ "webhook": { "url": "https://hook.example/secret" } }),
            ),
            (
                all(&[("kind", "webhook"), ("webhook.url", "https://new.example")]),
                json!({ "webhook": { "url": "https://new.example" } }),
            ),
            (all(&[("kind", "webhook"), ("webhook.url_env", "HOOK")]), json!({ "webhook": { "url_env": "HOOK" } })),
            (
                all(&[("kind", "slack"), ("slack.channel", "C1"), ("webhook.url", "x")]),
                json!({ "slack": { "channel": "C1" } }),
            ),
            (all(&[("kind", "slack")]), json!({ "slack": {} })),
        ];
        for (typed, want) in cases {
            assert_eq!(body_of(&old, &typed), want, "{typed:?}");
        }
    }
}
