//! Other thresholds on stored runs: the present ones give the very pages that were sent.

use dynowatch_domain::Clock as _;
use dynowatch_domain::check::replay::Replay;
use dynowatch_domain::check::{Check, Thresholds, state::Why};
use dynowatch_engine::objects::ObjectError;

use crate::checks::web;
use crate::harness::{Config, On, Stage, at, seconds};

/// As minutes of the outage: when it would have paged after the first failure, and how long it lasted.
fn pages(replay: &Replay) -> Vec<(u64, Option<u64>)> {
    let minutes = |from, until: dynowatch_domain::Timestamp| until.since(from).as_secs() / 60;
    replay
        .pages
        .iter()
        .map(|page| (minutes(page.began_at, page.at), page.ended_at.map(|ended_at| minutes(page.began_at, ended_at))))
        .collect()
}

pub(crate) async fn the_present_thresholds_give_the_pages_that_were_sent(on: On) {
    let child = Check { parent: Some("home".into()), ..web("away", 1, 1) };
    let mut play = Stage::configured(on, Config::checks(vec![web("home", 3, 2), child])).await;
    play.row("home", "SFFSFFFFSFSFFSS").await;
    play.told_of(&["[firing] check:home on shop", "[resolved] check:home on shop"]);
    play.engine().flush_checks(true).await.unwrap();
    let (engine, now) = (play.engine(), play.clock.now() + seconds(1));
    let present = web("home", 3, 2).thresholds;
    let found = engine.replay_check("home", &present, at("0:00"), now).await.unwrap();
    assert_eq!(found.other, found.present);
    let outages = engine.check_outages("home", now, 10).await.unwrap();
    // Runs are kept to the millisecond.
    let millis = |at: dynowatch_domain::Timestamp| at.as_micros() / 1_000;
    let sent: Vec<_> =
        outages.iter().rev().map(|outage| (millis(outage.began_at), outage.ended_at.map(millis))).collect();
    let replayed: Vec<_> =
        found.present.pages.iter().map(|page| (millis(page.began_at), page.ended_at.map(millis))).collect();
    assert_eq!(replayed, sent);
    assert_eq!(pages(&found.present), [(2, Some(9))]);
    assert_eq!(found.present.runs, 15);
    // Runs are kept from the first one on, however early one asks.
    assert!(found.from > at("0:00") && found.until < now, "{found:?}");
    let hasty = Thresholds { failures: 1, recoveries: 1, ..present.clone() };
    let found = engine.replay_check("home", &hasty, at("0:00"), now).await.unwrap();
    assert_eq!(pages(&found.other), [(0, Some(2)), (0, Some(4)), (0, Some(1)), (0, Some(2))]);
    assert!(found.other.pages.iter().all(|page| page.why == Why::Down));
    let patient = Thresholds { failures: 5, ..present };
    let found = engine.replay_check("home", &patient, at("0:00"), now).await.unwrap();
    assert_eq!((pages(&found.other), found.other.untold), (vec![], 0));
    // The child fails only while its parent does: nobody would have been told of it.
    play.finds("home", crate::checks::DOWN);
    play.runs("home", 1).await;
    play.row("away", "FFS").await;
    play.row("home", "SS").await;
    play.engine().flush_checks(true).await.unwrap();
    let now = play.clock.now() + seconds(1);
    let found = play.engine().replay_check("away", &hasty, at("0:00"), now).await.unwrap();
    assert_eq!((pages(&found.present), found.present.untold), (vec![], 1));
    play.told_of(&["[firing] check:home on shop", "[resolved] check:home on shop"]);
}

pub(crate) async fn without_a_reader_there_are_no_drafts(on: On) {
    let play = Stage::configured(on, Config::checks(vec![])).await;
    let body = serde_json::json!({"kind": "web", "url": "https://shop.example"});
    let refused = play.engine().draft_check("home", &body).await;
    assert!(matches!(refused, Err(ObjectError::FileOnly)), "{refused:?}");
    let refused = play.engine().draft_check("No Name", &body).await;
    assert!(matches!(refused, Err(ObjectError::Wrong(_))), "{refused:?}");
    let nowhere = play.engine().replay_check("home", &Thresholds::default(), at("0:00"), at("1:00")).await;
    assert!(nowhere.unwrap_err().to_string().contains("no check is named \"home\""));
}
