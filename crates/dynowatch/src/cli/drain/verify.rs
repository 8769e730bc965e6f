//! `drain verify`: one test line on the way of every drain's lines, with each step told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use dynowatch_web::drain::{DRAIN_USER, app_subject};
use reqwest::{Client, RequestBuilder, Url, redirect};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::super::context::Context;
use super::super::failure::Failure;
use super::{base_url, check_app, check_token, credential, secret};
use crate::config::Config;

/// Logplex gives up after five seconds; so do we.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// How much of an answer is shown.
const ANSWER_CHARS_MAX: usize = 1_000;
/// The app that stands for the instance itself.
const OWN_APP: &str = "dynowatch";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the instance is; else public_url of the configuration, else where it listens
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Post as this app's drain (/drain/NAME)
    #[arg(long, value_name = "NAME", conflicts_with = "drain_token")]
    app: Option<String>,
    /// Post as the drain with this Logplex token (/drain?drain_token=…)
    #[arg(long, value_name = "TOKEN")]
    drain_token: Option<String>,
}

/// What one step saw.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    saw: String,
}

impl Step {
    fn new(step: &'static str, ok: bool, saw: impl Into<String>) -> Self {
        Self { step, ok, status: None, saw: saw.into() }
    }
}

/// Goes through the steps, prints them, and says whether all were right.
pub(crate) async fn run(ctx: &mut Context, args: &Args) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let base = base_url(&args.url.clone().unwrap_or_else(|| own_url(&config)))?;
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(STEP_TIME_MAX).build();
    let client = client.map_err(anyhow::Error::from)?;
    let request = delivery(ctx, args, &config, &client, &base)?;
    let mut steps = reach(&base).await;
    if steps.iter().all(|step| step.ok) {
        steps.push(post(request).await);
        for (name, path) in [("healthz", "healthz"), ("readyz", "readyz")] {
            steps.push(get(&client, &base, name, path).await);
        }
    }
    let ok = steps.iter().all(|step| step.ok);
    if ctx.json {
        ctx.out.json(&serde_json::json!({ "url": base.as_str(), "ok": ok, "steps": steps }))?;
    } else {
        ctx.out.line(format!("{base}"))?;
        for Step { step, ok, status, saw } in &steps {
            let status = status.map(|status| format!("{status} ")).unwrap_or_default();
            ctx.out.line(format!("  {} {step:<8} {status}{saw}", if *ok { "ok  " } else { "FAIL" }))?;
        }
    }
    if ok { Ok(()) } else { Err(Failure::Said) }
}

/// Where the server of this configuration is reached from here.
fn own_url(config: &Config) -> String {
    config.public_url.clone().unwrap_or_else(|| {
        let ip = match config.listen.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, config.listen.port()))
    })
}

/// The request that a drain would make.
fn delivery(
    ctx: &Context,
    args: &Args,
    config: &Config,
    client: &Client,
    base: &Url,
) -> Result<RequestBuilder, Failure> {
    let secret = secret(config)?;
    let line = format!(
        "<190>1 {} host app dynowatch.verify - This is a test line from `dynowatch drain verify`; nothing is wrong.\n",
        ctx.now()
    );
    let body = format!("{} {line}", line.len());
    let join = |path: &str| format!("{}/{path}", base.as_str().trim_end_matches('/'));
    let request = match &args.drain_token {
        Some(token) => {
            check_token(token)?;
            let url = join(&format!("drain?drain_token={}", credential(secret, token)?));
            client.post(url).header("logplex-drain-token", token)
        }
        None => {
            let app = args.app.as_deref().unwrap_or(OWN_APP);
            check_app(app)?;
            client
                .post(join(&format!("drain/{app}")))
                .basic_auth(DRAIN_USER, Some(credential(secret, &app_subject(app))?))
        }
    };
    let request = request.header("content-type", "application/logplex-1").header("logplex-msg-count", "1");
    Ok(request.body(body))
}

/// Name and connection, by themselves: most drains that do not work fail here.
async fn reach(base: &Url) -> Vec<Step> {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = base.port_or_known_default().unwrap_or(443);
    let found = timeout(STEP_TIME_MAX, tokio::net::lookup_host((host.as_str(), port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return vec![Step::new("dns", false, format!("{host}: {error}"))],
        Err(_elapsed) => return vec![Step::new("dns", false, format!("{host}: no answer within {STEP_TIME_MAX:?}"))],
    };
    let Some(first) = addresses.first() else {
        return vec![Step::new("dns", false, format!("{host} has no address"))];
    };
    let more = if addresses.len() > 1 { format!(" and {} more", addresses.len() - 1) } else { String::new() };
    let mut steps = vec![Step::new("dns", true, format!("{host} is {}{more}", first.ip()))];
    let begun = Instant::now();
    let connected = timeout(STEP_TIME_MAX, TcpStream::connect(addresses.as_slice())).await;
    steps.push(match connected {
        Ok(Ok(_stream)) => Step::new("connect", true, format!("port {port} in {} ms", begun.elapsed().as_millis())),
        Ok(Err(error)) => Step::new("connect", false, format!("port {port}: {error}; is the server running there?")),
        Err(_elapsed) => {
            Step::new("connect", false, format!("port {port}: no answer within {STEP_TIME_MAX:?}; a firewall?"))
        }
    });
    steps
}

async fn post(request: RequestBuilder) -> Step {
    let begun = Instant::now();
    match request.send().await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let saw = format!("{} ({} ms)", meaning(status), begun.elapsed().as_millis());
            Step { status: Some(status), ..Step::new("post", status == 204, saw) }
        }
        Err(error) => Step::new("post", false, causes(&error.without_url())),
    }
}

/// What an answer means, and what Logplex makes of it.
fn meaning(status: u16) -> &'static str {
    match status {
        204 => "accepted: the line was taken",
        301 | 302 | 303 | 307 | 308 => {
            "a redirect, which Logplex does not follow: use the final URL, with https if it goes there"
        }
        401 => {
            "refused: the credential does not fit; the server has another HEROKU_LOG_DRAIN_HMAC_SECRET than this command. Logplex drops such batches for good"
        }
        413 => "too large: drain.body_bytes_max is smaller than this one line",
        501 => {
            "switched off: drain.enabled is false, FLAG_CONSOLE_HEROKU_LOG_DRAIN_ALERTING is false, or the server has no HEROKU_LOG_DRAIN_HMAC_SECRET"
        }
        503 => "not now: the server is overloaded or its store is away. Logplex tries twice more",
        404 | 405 => "there is something else than dynowatch at this URL",
        502 | 504 => "the router or proxy before it got no answer from dynowatch",
        _ => "not an answer that dynowatch gives: what stands between here and there?",
    }
}

async fn get(client: &Client, base: &Url, step: &'static str, path: &str) -> Step {
    let url = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    match client.get(url).send().await {
        Ok(answer) => {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            let text = state_of(&text).unwrap_or(text);
            let text: String =
                text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(ANSWER_CHARS_MAX).collect();
            Step {
                status: Some(status.as_u16()),
                ..Step::new(step, status.is_success(), dynowatch_domain::mask::mask(&text))
            }
        }
        Err(error) => Step::new(step, false, causes(&error.without_url())),
    }
}

/// What an instance says of itself, in words: its state, and what works only in part if it tells us.
fn state_of(answer: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    let status = answer.get("status")?.as_str()?.replace('_', " ");
    let warnings = answer.pointer("/details/warnings").and_then(serde_json::Value::as_array);
    let warnings: Vec<&str> = warnings.into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
    Some(if warnings.is_empty() { status } else { format!("{status}, but {}", warnings.join("; ")) })
}

/// An error with its causes in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
