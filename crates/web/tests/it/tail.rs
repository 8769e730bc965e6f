//! The log as it comes: the page, its stream, one line by itself, and the line as it came for who may see it.

use dynowatch_domain::line_filter::LineFilter;
use dynowatch_store::audit::AuditFilter;
use http::{Method, StatusCode};

use crate::accounts::join;
use crate::browser::{Browser, PASSWORD, between};
use crate::live::Stream;
use crate::pages::text;
use crate::site::{KNOWN_SECRET, Site, app_line, frame, settled};

/// Lines of two apps, one of them with secrets.
async fn busy() -> Site {
    let site = Site::open().await;
    site.storm().await;
    let body = app_line("2026-05-07T08:06:13Z", "web.1", &format!("ERROR login of ada password={KNOWN_SECRET} failed"))
        + &app_line("2026-05-07T08:06:14Z", "worker.1", "level=warning msg=\"slow <b>query</b> again\"")
        + &frame("2026-05-07T08:06:15Z", "app", "heroku-postgres", "checkpoint complete");
    site.post("shop", body.as_bytes()).await;
    site.post("billing", app_line("2026-05-07T08:06:16Z", "web.1", "invoice 17 sent").as_bytes()).await;
    site
}

/// The lines of a page, without their ids.
fn shown(html: &str) -> Vec<String> {
    html.split("<li")
        .skip(1)
        .filter(|item| item.contains("data-line"))
        .map(|item| {
            let code = between(item, "<code>", "</code>");
            code.replace("<mark>", "{").replace("</mark>", "}")
        })
        .collect()
}

/// The address of the page about the first line that holds this.
fn line_of(html: &str, text: &str) -> String {
    let item = html.split("<li").find(|item| item.contains("data-line") && item.contains(text)).unwrap();
    let href = between(item, "class=\"line\" href=\"", "\"");
    href.replace("&amp;", "&")
}

#[tokio::test]
async fn the_page() {
    let site = busy().await;
    let page = site.local("/live").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains(KNOWN_SECRET));
    assert!(page.text.contains("hx-sse:connect=\"/events?topics=&amp;live=1\""), "{}", page.text);
    insta::assert_snapshot!("live", settled(&site, &text(&page.text)));
    // Those that made H12 fire lead to the alert.
    let id = site.get("/api/v1/alerts?rule=h12").await["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(page.text.matches(&format!("class=\"caused\" href=\"/alerts/{id}\"")).count(), 4);
    let none = site.local("/live?app=nowhere").await.text;
    assert!(none.contains("No line yet.") && none.contains("selected>nowhere"), "{none}");
}

#[tokio::test]
async fn narrowed() {
    let site = busy().await;
    for (query, want) in [
        ("app=billing", vec!["invoice 17 sent"]),
        ("app=bill*", vec!["invoice 17 sent"]),
        ("process=worker&level=warning", vec!["level=warning msg=&quot;slow &lt;b&gt;query&lt;/b&gt; again&quot;"]),
        ("level=error&source=app", vec!["ERROR login of ada password=[masked] failed"]),
        ("q=CHECKPOINT", vec!["{checkpoint} complete"]),
        ("q=%2F%5Einvoice+%5Cd%2B%2F", vec!["{invoice 17} sent"]),
        ("app=billing&highlight=sent", vec!["invoice 17 {sent}"]),
        ("app=billing&q=17&highlight=%2Fi.*7%2F", vec!["{invoice 17} sent"]),
        ("q=query%3C", vec!["level=warning msg=&quot;slow &lt;b&gt;{query&lt;}/b&gt; again&quot;"]),
        // Nobody finds out a secret by asking for it.
        ("q=hunter2", vec![]),
        ("q=%2Fpassword%3Dh.*%2F", vec![]),
    ] {
        let page = site.local(&format!("/live?{query}")).await;
        assert_eq!(shown(&page.text), want, "{query}");
    }
    for (query, words) in [
        ("q=%2F(%2F", "this is no regular expression: unclosed group, at character 1"),
        ("q=%2F((a%7B100%7D)%7B100%7D)%7B100%7D%2F", "too large"),
        ("highlight=%2F%5B%2F", "unclosed character class"),
        ("level=loud", "is not a level"),
        ("source=x", "is no source"),
    ] {
        let page = site.local(&format!("/live?{query}")).await;
        assert!(page.text.contains(words), "{query}: {}", page.text);
        let is_shown = query.starts_with("highlight");
        assert_eq!(shown(&page.text).is_empty(), !is_shown, "{query}");
        assert_eq!(page.text.contains("live=1"), is_shown, "{query}");
    }
}

#[tokio::test]
async fn lines_come_by_the_stream() {
    let site = busy().await;
    let mut stream = Stream::open(&site, "&live=1&app=shop&q=boom", "").await;
    let first = stream.named("lines").await;
    assert!(first.contains("\"replace\":true,\"html\":\"\""), "{first}");
    let boom = |second: u32, text: &str| app_line(&format!("2026-05-07T08:06:{second:02}Z"), "web.1", text);
    site.post("billing", boom(20, "boom elsewhere").as_bytes()).await;
    site.post("shop", (boom(21, "calm") + &boom(22, &format!("kaboom </script><b> {KNOWN_SECRET}"))).as_bytes()).await;
    let event = stream.named("lines").await;
    let id = event.lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
    let data: serde_json::Value = serde_json::from_str(event.split("data: ").nth(1).unwrap()).unwrap();
    let html = data["html"].as_str().unwrap();
    assert_eq!(
        shown(html),
        ["ka<mark>boom</mark> &lt;/script&gt;&lt;b&gt; [masked]".replace("<mark>", "{").replace("</mark>", "}")]
    );
    assert_eq!((&data["replace"], data["lines"].as_u64(), data["missed"].as_u64()), (&false.into(), Some(1), Some(0)));
    // It made the rule fire, and says so.
    let alert = site.get("/api/v1/alerts?rule=kaboom").await["items"][0]["id"].as_str().unwrap().to_owned();
    assert!(html.contains(&format!("href=\"/alerts/{alert}\"")), "{html}");
    drop(stream);
    // Meanwhile lines go on being read for half a minute: who comes back misses none.
    site.post("shop", boom(23, "boom missed").as_bytes()).await;
    let mut back = Stream::open(&site, "&live=1&app=shop&q=boom", &id).await;
    let event = back.named("lines").await;
    assert!(event.contains("missed") && event.contains("\"replace\":false") && !event.contains("kaboom"), "{event}");
    // A place of another process is none: the page begins anew.
    let mut other = Stream::open(&site, "&live=1&app=shop&q=boom", "tail~7").await;
    let event = other.named("lines").await;
    assert!(event.contains("\"replace\":true") && event.contains("boom</mark> missed"), "{event}");
    // What cannot be read brings nothing but the beat.
    let mut bad = Stream::open(&site, "&live=1&q=%2F(%2F", "").await;
    assert!(bad.next().await.unwrap().starts_with("event: beat"));
}

#[tokio::test]
async fn a_line_by_itself() {
    let site = busy().await;
    let page = site.local("/live").await.text;
    let secret = line_of(&page, "login of ada");
    let answer = site.local(&secret).await;
    insta::assert_snapshot!("line", settled(&site, &text(&answer.text)));
    assert!(!answer.text.contains(KNOWN_SECRET) && !answer.text.contains("/lines/reveal"));
    let alert = site.get("/api/v1/alerts?rule=h12").await["items"][0]["id"].as_str().unwrap().to_owned();
    let evidence = site.local(&format!("/alerts/{alert}")).await.text;
    assert!(evidence.contains(&format!("href=\"/lines?alert={alert}&amp;n=0\"")));
    let line = site.local(&format!("/lines?alert={alert}&n=0")).await.text;
    assert!(line.contains("code=H12") || line.contains("checkout"), "{line}");
    for gone in [
        "/lines".to_owned(),
        "/lines?app=shop&line=x".into(),
        "/lines?app=shop&line=0123456789abcdef".into(),
        "/lines?app=nowhere&line=0123456789abcdef".into(),
        format!("/lines?alert={alert}&n=99"),
        format!("/lines?alert={alert}"),
        format!("/lines?alert={alert}&n=x"),
        "/lines?alert=x&n=0".into(),
        secret.replace("app=shop", "app=billing"),
    ] {
        assert_eq!(site.local(&gone).await.status, StatusCode::NOT_FOUND, "{gone}");
    }
}

fn fields(address: &str) -> Vec<(&str, &str)> {
    address.split_once('?').unwrap().1.split('&').map(|pair| pair.split_once('=').unwrap()).collect()
}

#[tokio::test]
async fn revealed_to_operators_once_and_written_down() {
    let site = busy().await;
    let page = site.local("/live").await.text;
    let (secret, plain) = (line_of(&page, "login of ada"), line_of(&page, "invoice"));
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    let mut opal = join(&mut ada, "opal", "operator").await;
    // Who only looks sees what is masked, and that an operator could see more.
    let looked = vic.get(&secret).await.text;
    assert!(looked.contains("An operator can reveal it") && !looked.contains("/lines/reveal"), "{looked}");
    let refused = vic.post("/lines/reveal", &fields(&secret)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(!refused.text.contains(KNOWN_SECRET));
    // An operator presses the button.
    assert!(opal.get(&secret).await.text.contains("action=\"/lines/reveal\""));
    let mut all = fields(&secret);
    all.push(("why", "ticket 17 about hunter2-hunter2"));
    let answer = opal.post("/lines/reveal", &all).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    assert!(between(&answer.text, "As it came", "Shown this once").contains(KNOWN_SECRET), "{}", answer.text);
    assert!(!opal.get(&secret).await.text.contains(KNOWN_SECRET), "once");
    let filter = AuditFilter { action: Some("line.reveal".into()), ..AuditFilter::default() };
    let entries = site.engine.store().audit_entries(&filter, 10).await.unwrap();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!((entry.actor.as_str(), entry.subject.as_str()), ("user:opal", "shop app[web.1] 2026-05-07T08:06:13Z"));
    let line = secret.split("line=").nth(1).unwrap();
    assert_eq!(entry.detail, format!("line {line} of the log: ticket 17 about [masked]"));
    // A line that hides nothing needs no revealing; without the token of the form nothing happens; nor with an old sign-in.
    assert_eq!(opal.post("/lines/reveal", &fields(&plain)).await.status, StatusCode::CONFLICT);
    assert_eq!(opal.post_as("same-origin", "/lines/reveal", &fields(&secret)).await.status, StatusCode::FORBIDDEN);
    site.clock.advance(std::time::Duration::from_secs(13 * 3_600));
    let stale = opal.post("/lines/reveal", &fields(&secret)).await;
    assert!(stale.status != StatusCode::OK && !stale.text.contains(KNOWN_SECRET), "{}", stale.status);
    assert_eq!(opal.sign_in("opal", &format!("{PASSWORD} 4")).await.status, StatusCode::SEE_OTHER);
    // In evidence as in the log.
    site.post("shop", app_line("2026-05-07T21:06:13Z", "web.1", &format!("kaboom token={KNOWN_SECRET}")).as_bytes())
        .await;
    let alert = site.get("/api/v1/alerts?rule=kaboom").await["items"][0]["id"].as_str().unwrap().to_owned();
    let address = format!("/lines?alert={alert}&n=0");
    assert!(!opal.get(&address).await.text.contains(KNOWN_SECRET));
    let answer = opal.post("/lines/reveal", &fields(&address)).await;
    assert!(answer.text.contains(KNOWN_SECRET), "{}", answer.text);
    let entries = site.engine.store().audit_entries(&filter, 10).await.unwrap();
    assert_eq!(entries[0].detail, format!("line 1 of the evidence of alert {alert}"));
}

/// A busy app's ring forgets a line within seconds. One that a page showed can still be looked at and revealed; one that
/// nobody was shown is gone, and is said to be.
#[tokio::test]
async fn lines_that_were_shown_outlive_the_ring() {
    let site = busy().await;
    let address = line_of(&site.local("/live?app=shop").await.text, "login of ada");
    let unseen = site.engine.recent_lines(&LineFilter::default(), 0);
    assert!(unseen.lines.is_empty());
    let much = app_line("2026-05-07T08:06:20Z", "web.1", &"x".repeat(900)).repeat(15);
    for _ in 0..12 {
        site.post("shop", much.as_bytes()).await;
    }
    assert!(!shown(&site.local("/live?app=shop").await.text).iter().any(|line| line.contains("login of ada")));
    let answer = site.local(&address).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text.contains("password=[masked]") && !answer.text.contains(KNOWN_SECRET), "{}", answer.text);
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    ada.get(&address).await;
    let revealed = ada.post("/lines/reveal", &fields(&address)).await;
    assert!(between(&revealed.text, "As it came", "Shown this once").contains(KNOWN_SECRET), "{}", revealed.text);
    let gone = ada.get("/lines?app=shop&line=0123456789abcdef").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert!(gone.text.contains("This line is gone") && gone.text.contains("kept with it"), "{}", gone.text);
}

/// What arrives while a page reads the rings comes both ways, and is shown once.
#[tokio::test]
async fn what_comes_both_ways_is_shown_once() {
    let site = busy().await;
    let mut watch = site.engine.watch(LineFilter::default(), None).unwrap();
    let line = |second: u32| app_line(&format!("2026-05-07T08:06:{second}Z"), "web.1", "twice?");
    site.post("shop", line(20).as_bytes()).await;
    let recent = site.engine.recent_lines(&LineFilter::default(), 200);
    assert_eq!(recent.lines.iter().filter(|line| line.text == "twice?").count(), 1);
    watch.knows(&recent.lines);
    site.post("shop", line(21).as_bytes()).await;
    let mut shown = Vec::new();
    while shown.is_empty() {
        shown.extend(watch.next().await.unwrap().lines);
    }
    assert_eq!(shown.iter().map(|line| line.at.to_string()).collect::<Vec<_>>(), ["2026-05-07T08:06:21Z"]);
}

/// Who may not read is no watcher.
#[tokio::test]
async fn streams_of_lines_are_for_readers() {
    let site = busy().await;
    let answer = site.ask(Method::GET, "/events?topics=&live=1", "203.0.113.9:1", &[], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.engine.watchers().0, 0);
    let stream = Stream::open(&site, "&live=1", "").await;
    assert_eq!(site.engine.watchers().0, 1);
    drop(stream);
}

/// What of a line becomes a rule: its code, or a text that stays.
#[tokio::test]
async fn a_rule_from_a_line() {
    let site = busy().await;
    let log = site.local("/live").await.text;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    for (text, name, want) in [
        ("code=H12", "h12-2", r#"name="match.code" value="H12""#),
        ("login of ada", "login-of-ada", ">login of ada</textarea>"),
        ("invoice", "invoice", ">invoice</textarea>"),
        ("checkpoint", "checkpoint-complete", ">checkpoint complete</textarea>"),
    ] {
        let app = if text == "invoice" { "billing" } else { "shop" };
        let address = line_of(&log, text).replace("/lines?", "/rules/new?");
        let form = ada.get(&address).await.text;
        assert!(form.contains(want), "{text}: {form}");
        for part in [
            format!(r#"name="name" value="{name}""#),
            format!(r#"name="apps" value="{app}""#),
            r#"name="count" value="&gt;= 1""#.into(),
        ] {
            assert!(form.contains(&part), "{text}: {part} {form}");
        }
        assert!(!form.contains(KNOWN_SECRET));
    }
    // A guest makes none; a line that is gone makes none either.
    let address = line_of(&log, "checkpoint").replace("/lines?", "/rules/new?");
    assert_ne!(site.local(&address).await.status, StatusCode::OK);
    assert_eq!(ada.get("/rules/new?app=shop&line=0123456789abcdef").await.status, StatusCode::NOT_FOUND);
    // Sent as it is, it is in force.
    let fields = [
        ("name", "checkpoints"),
        ("match.text", "checkpoint complete"),
        ("apps", "shop"),
        ("count", ">= 1"),
        ("window", "5m"),
        ("severity", "warning"),
    ];
    assert_eq!(ada.post("/rules/new", &fields).await.status, StatusCode::SEE_OTHER);
    site.post("shop", frame("2026-05-07T08:06:30Z", "app", "heroku-postgres", "checkpoint complete").as_bytes()).await;
    assert_eq!(site.get("/api/v1/alerts?rule=checkpoints").await["items"][0]["state"], "firing");
}
