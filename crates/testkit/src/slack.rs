//! A Slack that speaks HTTP: `chat.postMessage` and `auth.test` of the Web API, as far as a sender of messages can
//! tell. Point `SLACK_API_URL` at [`FakeSlack::url`](crate::http_fake::Fake::url).

use serde_json::{Value, json};

use crate::http_fake::{Fake, Protocol, Reading, Received};

/// See [`Fake`] for scripts and assertions, [`Slack`] for the protocol. Addresses are channels.
pub type FakeSlack = Fake<Slack>;

/// The token of [`FakeSlack::start`].
pub const TOKEN: &str = "xoxb-0000000000-fake";

/// The protocol of [`FakeSlack`].
pub struct Slack {
    token: String,
}

/// An accepted `chat.postMessage`.
#[derive(Clone, Debug)]
pub struct SlackMessage {
    /// Channel or DM id.
    pub channel: String,
    /// The plain text; empty if only blocks were sent.
    pub text: String,
    /// Layout blocks; null without any.
    pub blocks: Value,
    /// The whole body.
    pub body: Value,
    /// The request it came with.
    pub request: Received,
}

impl SlackMessage {
    /// The sender's idempotency key: the `Idempotency-Key` header, else `client_msg_id` of the body.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.request.header("idempotency-key").or_else(|| self.body.get("client_msg_id")?.as_str())
    }

    /// All text a reader sees: the plain text and every string in the blocks, one per line.
    #[must_use]
    pub fn visible_text(&self) -> String {
        let mut lines = vec![self.text.clone()];
        collect_texts(&self.blocks, &mut lines);
        lines.join("\n")
    }
}

impl FakeSlack {
    /// A Slack that knows [`TOKEN`].
    pub async fn start() -> Self {
        Self::start_with_token(TOKEN).await
    }

    /// A Slack that knows this token only.
    pub async fn start_with_token(token: &str) -> Self {
        Self::serve(Slack { token: token.to_owned() }).await
    }
}

impl Protocol for Slack {
    type Message = SlackMessage;

    const BASE_PATH: &'static str = "/api";

    fn read(&self, request: &Received) -> Reading<SlackMessage> {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match token {
            None => return refuse("not_authed"),
            Some(token) if token != self.token => return refuse("invalid_auth"),
            Some(_) => {}
        }
        match request.path.rsplit('/').next() {
            Some("auth.test") => Reading::Reply((
                200,
                json!({
                    "ok": true, "url": "https://fake.slack.com/", "team": "Fake", "team_id": "T00000001",
                    "user": "dynowatch", "user_id": "U00000001", "bot_id": "B00000001",
                }),
            )),
            Some("chat.postMessage") => read_message(request),
            _ => refuse("unknown_method"),
        }
    }

    fn accepted(&self, message: &SlackMessage, number: usize) -> (u16, Value) {
        let ts = format!("1778140800.{number:06}");
        (
            200,
            json!({
                "ok": true, "channel": message.channel, "ts": ts,
                "message": { "text": message.text, "ts": ts, "type": "message", "bot_id": "B00000001" },
            }),
        )
    }
}

fn read_message(request: &Received) -> Reading<SlackMessage> {
    if !request.header("content-type").is_some_and(|value| value.starts_with("application/json")) {
        return refuse("invalid_post_type");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse("invalid_json");
    };
    let Some(channel) = body.get("channel").and_then(Value::as_str) else {
        return refuse("channel_not_found");
    };
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    let blocks = body.get("blocks").cloned().unwrap_or(Value::Null);
    if text.is_empty() && blocks.is_null() {
        return refuse("no_text");
    }
    let message = SlackMessage {
        channel: channel.to_owned(),
        text: text.to_owned(),
        blocks,
        body: body.clone(),
        request: request.clone(),
    };
    Reading::Message(message.channel.clone(), message)
}

/// Slack says no with status 200.
fn refuse(error: &str) -> Reading<SlackMessage> {
    Reading::Reply((200, json!({"ok": false, "error": error})))
}

fn collect_texts(value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, lines)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "text" || name == "alt_text" => lines.push(text.clone()),
                    other => collect_texts(other, lines),
                }
            }
        }
        _ => {}
    }
}
