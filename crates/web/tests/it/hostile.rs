//! Everything in a log line is an attacker's. Whatever stands in paths, processes, texts, hosts and names, no page gets a
//! tag, an attribute or a link from it, no secret leaves, and no character hides.

use http::Method;

use crate::site::{KNOWN_SECRET, Site, app_line, frame, request_to};

const PAYLOADS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</pre></code><style>*{display:none}</style>",
    "&lt;b&gt;&#x3c;script&#x3e;",
    "javascript:alert(1)\u{202e}gpj.exe\u{1b}[31m\u{0}",
];

/// Tags that our own pages are made of.
const TAGS: [&str; 69] = [
    "line",
    "mark",
    "text",
    "!doctype",
    "html",
    "head",
    "meta",
    "title",
    "link",
    "script",
    "body",
    "header",
    "a",
    "nav",
    "main",
    "aside",
    "footer",
    "p",
    "time",
    "h1",
    "h2",
    "h3",
    "ul",
    "li",
    "ol",
    "dl",
    "dt",
    "dd",
    "pre",
    "code",
    "span",
    "strong",
    "kbd",
    "q",
    "br",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "section",
    "article",
    "div",
    "details",
    "summary",
    "svg",
    "rect",
    "path",
    "circle",
    "form",
    "fieldset",
    "legend",
    "label",
    "input",
    "select",
    "option",
    "button",
    "textarea",
    "datalist",
    "dialog",
    "figure",
    "figcaption",
    "hx-partial",
    "small",
    "em",
    "b",
    "i",
];

pub(crate) fn check(page: &str, html: &str) {
    for tag in html.split('<').skip(1) {
        let name: String = tag
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "!/".contains(*c))
            .collect::<String>()
            .to_lowercase();
        assert!(
            TAGS.contains(&name.as_str()) || TAGS.contains(&name.trim_start_matches('/')),
            "{page}: a tag of somebody else's: <{tag}"
        );
        let inside = tag.split('>').next().unwrap_or_default();
        // Every second piece between quotes is a value, in which `"` is always escaped.
        let names: String = inside.split('"').step_by(2).collect();
        for (at, _) in names.match_indices('=') {
            let attribute: String = names[..at]
                .chars()
                .rev()
                .take_while(|c| c.is_ascii_alphabetic() || *c == '-')
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            assert!(
                !attribute.to_lowercase().starts_with("on") && attribute.to_lowercase() != "style",
                "{page}: <{inside}>"
            );
        }
        // Scripts come from files of ours and hold nothing of their own.
        assert!(name != "script" || inside.starts_with("script src=\"/assets/"), "{page}: <{inside}>");
        assert!(!inside.contains("hx-on") && !inside.contains("js:"), "{page}: <{inside}>");
        let href = inside.split("href=\"").nth(1).map_or("/", |rest| rest.split('"').next().unwrap_or_default());
        assert!(
            href.is_empty()
                || href.starts_with('/')
                || href.starts_with('#')
                || href.starts_with("https://wiki.example/"),
            "{page}: leads to {href}"
        );
    }
    assert!(!html.contains(KNOWN_SECRET), "{page} shows a secret");
    let hidden: Vec<char> =
        html.chars().filter(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c)).collect();
    assert!(hidden.is_empty(), "{page} hides {hidden:?}");
}

#[tokio::test]
async fn no_page_takes_anything_from_a_line() {
    let site = Site::open().await;
    for payload in PAYLOADS {
        let quoted = payload.replace(['"', ' '], "%");
        let body =
            app_line("2026-05-07T08:06:10Z", "web.1", &format!("kaboom {payload} {KNOWN_SECRET} password={payload}"))
                + &app_line("2026-05-07T08:06:10Z", "web.1", payload)
                + &frame("2026-05-07T08:06:10Z", "app", &payload.replace(' ', ""), &format!("kaboom {payload}"))
                + &request_to("2026-05-07T08:06:11Z", &quoted, &format!("/{quoted}/x"), "", 500)
                + &frame("2026-05-07T08:06:11Z", "app", "api", &format!("Release v1 created by user {payload}"))
                + &frame("2026-05-07T08:06:11Z", "app", "api", &format!("Deploy {payload} by user {payload}"))
                + &frame("2026-05-07T08:06:11Z", "heroku", "web.1", &format!("source={payload} sample#{quoted}=1"));
        site.post("shop", body.as_bytes()).await;
    }
    // A drain whose token is hostile (the holder of the secret can send one), and an app whose name came to be so.
    let hostile = site.engine.app_of_token("d.<b>&\"'").await.unwrap();
    for app in [&hostile.name, "d.<b>&\"'"] {
        site.post(app, app_line("2026-05-07T08:06:10Z", "web.1", "kaboom").as_bytes()).await;
    }
    for (path, by) in [("/api/v1/receivers/operator/test", "")] {
        site.api(Method::POST, path, by).await;
    }
    site.engine.refresh_pass().await.unwrap();
    site.engine.level_pass().await.unwrap();
    site.engine.send_pass().await.unwrap();
    let alerts = site.get("/api/v1/alerts?limit=200").await;
    let ids: Vec<&str> =
        alerts["items"].as_array().unwrap().iter().map(|alert| alert["id"].as_str().unwrap()).collect();
    assert!(ids.len() >= 7, "{}", ids.len());
    let mut pages: Vec<String> = ids.iter().map(|id| format!("/alerts/{id}")).collect();
    pages.extend(
        [
            "/",
            "/?app=shop",
            "/?app=%3Cscript%3E&range=%22",
            "/apps",
            "/apps?q=%22%3E%3Cscript%3E",
            "/apps/shop?range=2h",
            "/apps/shop?process=%22onmouseover%3D%22x",
            "/apps/shop/dynos/web.1",
            "/apps/shop/dynos/%22%3E%3Cscript%3E",
            "/apps/%3Cscript%3E",
            "/alerts",
            "/alerts?state=firing",
            "/alerts?app=%3Cscript%3E&rule=%22onmouseover%3D%22x",
            "/alerts?cursor=%3Cscript%3E",
            "/deliveries",
            "/deliveries?state=sent",
            "/deliveries?receiver=%3Cscript%3E",
            "/rules",
            "/rules?origin=%3Cscript%3E",
            "/rules/5xx-by-path",
            "/rules/kaboom",
            "/rules/%3Cscript%3E",
            "/rules/new",
            "/receivers",
            "/receivers/operator",
            "/receivers/%22onmouseover%3D%22x",
            "/connect?app=%3Cscript%3E",
            "/connect?app=shop",
            "/settings",
            "/settings/health",
            "/settings/data",
            "/deliveries?cursor=%3Cscript%3E",
            "/deliveries?state=%3Cscript%3E",
            "/alerts/%3Cscript%3E",
            "/live",
            "/live?app=%3Cscript%3E&process=%22onmouseover%3D%22x&level=%3Cb%3E",
            "/live?q=%3Cscript%3E&highlight=onerror",
            "/live?q=%2F%3Cscript%3E(%2F&highlight=%2F%3C%2F",
            "/lines?app=shop&line=%3Cscript%3E",
            "/%3Cscript%3Ealert(1)%3C/script%3E",
        ]
        .map(str::to_owned),
    );
    // Each line of the log by itself, and what a stream sends of it.
    let log = site.local("/live").await.text;
    let lines = log.split("class=\"line\" href=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
    pages.extend(lines.map(|href| href.replace("&amp;", "&")));
    assert!(pages.len() > 60, "{}", pages.len());
    let sent = crate::live::Stream::open(&site, "&live=1&highlight=script", "").await.named("lines").await;
    let sent: serde_json::Value = serde_json::from_str(sent.split("data: ").nth(1).unwrap_or_default()).unwrap();
    check("the stream", sent["html"].as_str().unwrap());
    for page in &pages {
        let answer = site.local(page).await;
        assert!(answer.header("content-type").starts_with("text/html"), "{page}: {}", answer.header("content-type"));
        check(page, &answer.text);
    }
    let all: String = {
        let mut all = String::new();
        for path in ["apps/shop", "alerts?limit=200", "deliveries?limit=200", "drain"] {
            all.push_str(&site.get(&format!("/api/v1/{path}")).await.to_string());
        }
        for id in &ids {
            all.push_str(&site.get(&format!("/api/v1/alerts/{id}")).await.to_string());
        }
        all
    };
    assert!(!all.contains(KNOWN_SECRET) && all.contains("[masked]"));
    let metrics = site.local("/metrics").await.text;
    assert!(
        metrics.ends_with("# EOF\n")
            && metrics
                .lines()
                .all(|line| line.starts_with("# ")
                    || line.rsplit_once(' ').is_some_and(|(_, n)| n.parse::<f64>().is_ok())),
        "{metrics}"
    );
    assert!(metrics.contains(r#"app="d.<b>&\"'""#), "{metrics}");
}

/// The runbook of a rule becomes a link only when it is a web address.
#[tokio::test]
async fn only_web_addresses_are_links() {
    let site = Site::open().await;
    site.storm().await;
    for (rule, link) in [("h12", true), ("5xx-by-path", false)] {
        let id = site.get(&format!("/api/v1/alerts?rule={rule}")).await["items"][0]["id"].as_str().unwrap().to_owned();
        let page = site.local(&format!("/alerts/{id}")).await.text;
        assert_eq!(page.contains("href=\"https://wiki.example/h12?a=1&amp;b=2\""), link, "{rule}");
        assert!(!page.contains("href=\"javascript"), "{rule}");
    }
}
