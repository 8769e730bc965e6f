//! The pages of apps and dynos: what they say, that tables, CSV and JSON are the API's values, gaps, releases, quotas.

use std::time::Duration;

use serde_json::Value;

use crate::pages::text;
use crate::site::{KNOWN_SECRET, Site, frame, request, request_to, settled};

fn memory(at: &str, dyno: &str, total: u32, quota: u32) -> String {
    let text = format!(
        "source={dyno} dyno=heroku.1.u sample#load_avg_1m=0.42 sample#memory_total={total}.00MB sample#memory_rss={total}.00MB sample#memory_swap=0.00MB sample#memory_quota={quota}.00MB"
    );
    frame(at, "heroku", dyno, &text)
}

/// An app's morning: requests, memory, a release and a config change, a scaling, a dyno that crashed, a database.
async fn morning() -> Site {
    let site = Site::open().await;
    for minute in 0..6 {
        let at = |second: u32| format!("2026-05-07T08:{minute:02}:{second:02}Z");
        let mut body = String::new();
        for (second, path, status) in [(2, "/orders/7", 200), (9, "/orders/8", 200), (14, "/cart", 404)] {
            body.push_str(
                &request(&at(second), path, "", status)
                    .replace("service=30000ms", &format!("service={:05}ms", 80 + minute * 10)),
            );
        }
        body.push_str(&memory(&at(20), "web.1", 300 + minute, 512));
        body.push_str(&memory(&at(21), "worker.1", 600, 512));
        site.post("shop", body.as_bytes()).await;
    }
    let body = frame("2026-05-07T08:01:00Z", "app", "api", "Deploy 0a1b2c3d by user ada@example.com")
        + &frame("2026-05-07T08:01:00Z", "app", "api", "Release v214 created by user ada@example.com")
        + &frame("2026-05-07T08:03:00Z", "app", "api", "Set LOG_LEVEL config vars by user ada@example.com")
        + &frame("2026-05-07T08:03:00Z", "app", "api", "Release v215 created by user ada@example.com")
        + &frame(
            "2026-05-07T08:04:00Z",
            "app",
            "api",
            "Scaled to web@2:Standard-1X worker@1:Standard-1X by user ada@example.com",
        )
        + &frame("2026-05-07T08:04:30Z", "heroku", "web.2", "State changed from starting to crashed")
        + &frame(
            "2026-05-07T08:05:30Z",
            "app",
            "heroku-postgres",
            "source=DATABASE addon=postgresql-flat-1 sample#current_transaction=9 sample#db_size=900000000bytes sample#tables=40 sample#active-connections=31 sample#waiting-connections=0 sample#index-cache-hit-rate=0.99991 sample#table-cache-hit-rate=0.98765 sample#load-avg-1m=0.2 sample#read-iops=12 sample#write-iops=40",
        );
    site.post("shop", body.as_bytes()).await;
    site.engine.level_pass().await.unwrap();
    site
}

async fn json(site: &Site, path: &str) -> Value {
    let answer = site.local(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

#[tokio::test]
async fn an_app() {
    let site = morning().await;
    insta::assert_snapshot!(
        "app",
        settled(&site, &text(&site.local("/apps/shop?from=1778140800&to=1778141400").await.text))
    );
}

#[tokio::test]
async fn a_dyno() {
    let site = morning().await;
    insta::assert_snapshot!(
        "dyno",
        settled(&site, &text(&site.local("/apps/shop/dynos/web.1?from=1778140800&to=1778141400").await.text))
    );
}

#[tokio::test]
async fn all_apps() {
    let site = morning().await;
    site.engine.app_named("api").await.unwrap();
    insta::assert_snapshot!("apps", settled(&site, &text(&site.local("/apps").await.text)));
    let narrowed = text(&site.local("/apps?q=SH").await.text);
    assert!(narrowed.contains("shop") && !narrowed.contains("\napi"), "{narrowed}");
    assert!(site.local("/apps?q=%3Cb%3E").await.text.contains("No app has that in its name."));
}

/// The first page: nothing known, well, an alert; an app chosen in the address; the feed with releases.
#[tokio::test]
async fn now() {
    let site = morning().await;
    insta::assert_snapshot!("now", settled(&site, &text(&site.local("/?from=1778140800&to=1778141400").await.text)));
    site.engine.app_named("api").await.unwrap();
    let page = text(&site.local("/").await.text);
    assert!(page.starts_with("1 of 2 apps are well; nothing is known of 1 app"), "{page}");
    let page = text(&site.local("/?app=shop").await.text);
    let feed = page.split("## What happened").last().unwrap();
    let order: Vec<usize> =
        ["web.2 crashed", "Scaled to", "v215 by ada@example.com: ", "v214 by ada@example.com: Deploy 0a1b2c3d"]
            .iter()
            .map(|what| feed.find(what).unwrap_or_else(|| panic!("{what}: {feed}")))
            .collect();
    assert!(order.is_sorted(), "{feed}");
    site.storm().await;
    let page = text(&site.local("/?app=api").await.text);
    assert!(page.starts_with("shop has 2 open alerts since 7 May 08:06 UTC"), "{page}");
}

#[tokio::test]
async fn an_app_of_which_nothing_is_known() {
    let site = Site::open().await;
    insta::assert_snapshot!("app_new", settled(&site, &text(&site.local("/apps/shop").await.text)));
    let dyno = site.local("/apps/shop/dynos/web.7").await.text;
    assert!(dyno.contains("Nothing is known of this dyno in this range."), "{dyno}");
    for wrong in [
        "/apps/nowhere",
        "/apps/%FF",
        "/apps/shop/charts/x.json",
        "/apps/shop/charts/response.exe",
        "/apps/nowhere/dynos/web.1",
    ] {
        let answer = site.local(wrong).await;
        assert_eq!(answer.status, 404, "{wrong}");
        assert!(answer.text.contains("href=\"/\""), "{wrong}");
    }
    assert_eq!(site.local("/apps/shop?release=x").await.status, 400);
}

/// Stale is said, and is not well.
#[tokio::test]
async fn an_app_that_fell_silent() {
    let site = morning().await;
    site.clock.advance(Duration::from_secs(1_200));
    let page = text(&site.local("/apps/shop").await.text);
    assert!(page.contains("shop: unknown, no line has arrived for 20m") && page.contains("Last data "), "{page}");
}

/// D4, the values: the chart's JSON, its CSV, the page's table and the API say the same.
#[tokio::test]
async fn tables_pictures_and_the_api_are_of_one_mind() {
    let site = morning().await;
    let data = json(&site, "/apps/shop/charts/throughput.json?range=2h").await;
    let api = site
        .get("/api/v1/series?app=shop&metric=router.requests&by=class&step=1m&from=2026-05-07T06:06:00Z&until=2026-05-07T08:07:00Z")
        .await;
    let charted: Vec<(&str, &Value)> =
        data["series"].as_array().unwrap().iter().map(|s| (s["name"].as_str().unwrap(), &s["values"])).collect();
    let told: Vec<(&str, &Value)> =
        api["series"].as_array().unwrap().iter().map(|s| (s["label"].as_str().unwrap(), &s["points"])).collect();
    assert_eq!(charted, told);
    assert_eq!(charted.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["2xx", "4xx"]);
    let csv = site.local("/apps/shop/charts/throughput.csv?range=2h").await;
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"throughput.csv\"");
    let lines: Vec<&str> = csv.text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("time,\"2xx\",\"4xx\"", 122));
    assert!(csv.text.contains("2026-05-07T08:03:00Z,2,1\r\n"), "{}", csv.text);
    let page = site.local("/apps/shop?range=2h").await.text;
    let figure = page.split("id=\"throughput\"").nth(1).unwrap().split("</figure>").next().unwrap();
    assert_eq!(figure.matches("<tr>").count(), 122);
    assert!(figure.contains("<th scope=\"row\">7 May 08:03 UTC</th><td>2</td><td>1</td>"), "{figure}");
    assert!(figure.contains("<svg class=\"picture\""));
}

/// D1: without samples there are nulls, a gap, and a sentence that says so.
#[tokio::test]
async fn gaps_stay_gaps() {
    let site = Site::open().await;
    for minute in [30, 31, 42, 43] {
        let at = |second: u32| format!("2026-05-07T07:{minute}:{second:02}Z");
        let body =
            memory(&at(5), "web.1", 300, 512) + &memory(&at(25), "web.1", 300, 512) + &request(&at(30), "/", "", 200);
        site.post("shop", body.as_bytes()).await;
    }
    site.engine.level_pass().await.unwrap();
    let range = "from=1778139000&to=1778139840";
    let data = json(&site, &format!("/apps/shop/charts/memory.json?{range}")).await;
    let values = data["series"][1]["values"].as_array().unwrap();
    let known: String = values.iter().map(|value| if value.is_null() { '-' } else { 'x' }).collect();
    assert_eq!(known, "xx----------xx");
    let page = site.local(&format!("/apps/shop?{range}")).await.text;
    let figure = page.split("id=\"memory\"").nth(1).unwrap().split("</figure>").next().unwrap();
    assert!(figure.contains("10 min without data") && figure.contains("no data"), "{figure}");
    // The line is two pieces, with nothing between them.
    let line = figure.split("class=\"line s1\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(line.matches('M').count(), 2, "{line}");
}

/// D2: a release and a config change stand on the strip, in its table, in every chart and in the feed, with version,
/// author and link.
#[tokio::test]
async fn releases_stand_where_people_look() {
    let site = morning().await;
    let page = site.local("/apps/shop?range=2h").await.text;
    let strip = page.split("<svg class=\"marks\"").nth(1).unwrap().split("</figure>").next().unwrap();
    let (config, code) = (strip.find(">v215 ").unwrap(), strip.rfind(">v214 ").unwrap());
    assert!(config < code, "the newest first");
    for part in [
        "v214 by ada@example.com: Deploy 0a1b2c3d",
        "release=1778140860#releases",
        "release=1778140980#releases",
        "LOG_LEVEL",
    ] {
        assert!(strip.contains(part), "{part}: {strip}");
    }
    let data = json(&site, "/apps/shop/charts/response.json?range=2h").await;
    let kinds: Vec<&str> =
        data["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["release", "config", "scale", "crash"]);
    assert!(data["events"][0]["href"].as_str().unwrap().starts_with("/apps/shop?from="));
    // What it leads to compares the hours before and after.
    let compared = text(&site.local("/apps/shop?range=2h&release=1778140860").await.text);
    assert!(compared.contains("What a release changed") && compared.contains("v214 by ada@example.com"), "{compared}");
}

/// D3: another dyno size: the quota steps, the shade follows it, the share goes on.
#[tokio::test]
async fn quotas_step() {
    let site = Site::open().await;
    for (minute, total, quota) in [(0, 256, 512), (1, 256, 512), (2, 512, 1024), (3, 512, 1024)] {
        site.post("shop", memory(&format!("2026-05-07T08:{minute:02}:05Z"), "web.1", total, quota).as_bytes()).await;
    }
    site.engine.level_pass().await.unwrap();
    let range = "from=1778140800&to=1778141400";
    let data = json(&site, &format!("/apps/shop/charts/memory.json?{range}")).await;
    assert_eq!(data["series"][0]["name"], "quota");
    assert_eq!(data["series"][0]["drawn"], "limit");
    let first = |value: &Value| value.as_array().unwrap()[..4].to_vec();
    assert_eq!(first(&data["series"][0]["values"]), [512.0, 512.0, 1024.0, 1024.0].map(Value::from));
    for (shade, label, from) in [(0, "R14", 1.0), (1, "R15", 2.0)] {
        assert_eq!(
            (&data["shades"][shade]["label"], &data["shades"][shade]["from"], &data["shades"][shade]["of"]),
            (&Value::from(label), &Value::from(from), &Value::from(0))
        );
    }
    let share = json(&site, &format!("/apps/shop/charts/share.json?{range}")).await;
    assert_eq!(first(&share["series"][0]["values"]), [50.0; 4].map(Value::from));
}

/// Names, paths and people in lines are an attacker's; so are addresses.
#[tokio::test]
async fn nothing_of_theirs_becomes_markup() {
    let site = Site::open().await;
    let nasty = "\"><img/src=x>";
    let body = request_to("2026-05-07T08:05:01Z", "h", &format!("/<script>{KNOWN_SECRET}"), "", 500)
        + &memory("2026-05-07T08:05:02Z", "w<b>.1", 900, 512)
        + &frame("2026-05-07T08:05:03Z", "app", "api", &format!("Release v1 created by user {nasty}{KNOWN_SECRET}"))
        + &frame("2026-05-07T08:05:03Z", "app", "api", &format!("Deploy {nasty} by user {nasty}"))
        + &frame("2026-05-07T08:05:04Z", "app", "heroku-postgres", "source=<i>DB addon=x sample#active-connections=31");
    site.post("shop", body.as_bytes()).await;
    site.engine.level_pass().await.unwrap();
    for page in [
        "/apps/shop?range=2h",
        "/apps/shop/dynos/w%3Cb%3E.1",
        "/apps/shop?process=%22%3E%3Cscript%3E",
        "/apps/shop/dynos/%3Cscript%3E",
    ] {
        let answer = site.local(page).await;
        for wrong in ["<img", "<b>", "<i>", "<script>", KNOWN_SECRET] {
            assert!(!answer.text.contains(wrong), "{page}: {wrong}");
        }
    }
}
