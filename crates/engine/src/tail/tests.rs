//! The hub without an engine around it: what is shown, what is counted, what it costs.

use dynowatch_domain::Timestamp;
use dynowatch_domain::evidence::Role;
use dynowatch_domain::line_filter::LineQuery;
use dynowatch_domain::signal::Source;
use proptest::prelude::*;

use super::*;

fn app(n: u128) -> AppId {
    AppId(uuid::Uuid::from_u128(n))
}

fn tail() -> Tail {
    Tail::new([7; 16], 1_000)
}

/// A body of lines, a microsecond apart from each other.
fn body(process: &str, from: usize, texts: &[&str]) -> Bytes {
    let mut out = String::new();
    for (i, text) in texts.iter().enumerate() {
        let line = format!("<190>1 2026-05-07T08:06:12.{:06}+00:00 host app {process} - {text}\n", from + i);
        out.push_str(&format!("{} {line}", line.len()));
    }
    out.into()
}

fn many(process: &str, from: usize, n: usize) -> Bytes {
    let texts: Vec<String> = (0..n).map(|i| format!("line {}", from + i)).collect();
    body(process, from, &texts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn filter(text: &str) -> LineFilter {
    LineQuery { text: text.to_owned(), ..LineQuery::default() }.read().unwrap()
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn nobody_watches_and_nothing_waits() {
    let tail = tail();
    assert!(!tail.is_watched());
    let joined = tail.join(LineFilter::default(), None).unwrap();
    assert!(tail.is_watched() && joined.is_first && !joined.resumed);
    assert!(!tail.join(LineFilter::default(), None).unwrap().is_first, "one task makes the passes");
    tail.leave(joined.id);
    drop(joined);
    // For half a minute more: who lost the connection comes back.
    let passes = (0..).take_while(|_| tail.pass(&Masker::default())).count();
    assert_eq!(passes, 99);
    assert!(!tail.is_watched());
    // Nothing was looked at since.
    let back = tail.join(LineFilter::default(), Some(1_000)).unwrap();
    assert!(back.is_first && !back.resumed);
}

#[test]
fn lines_come_masked_filtered_and_in_order() {
    let tail = tail();
    let masker = Masker::with_values(vec!["hunter2-hunter2".to_owned()]);
    let mut all = tail.join(LineFilter::default(), None).unwrap();
    let mut some = tail.join(filter("/boom|secret=hunter2/"), None).unwrap();
    tail.offer(app(1), "shop", Share::ALL, &body("web.1", 5, &["ERROR boom password=hunter2-hunter2", "calm"]), 2);
    tail.offer(app(2), "billing", Share::ALL, &body("worker.1", 1, &["first", "secret=hunter2-hunter2"]), 2);
    assert!(tail.pass(&masker));
    let batch = all.batches.try_recv().unwrap();
    assert_eq!(texts(&batch), ["first", "secret=[masked]", "ERROR boom password=[masked]", "calm"]);
    assert_eq!((batch.seq, batch.missed.len()), (1_004, 0));
    let line = &batch.lines[2];
    assert_eq!((line.app_name.as_str(), line.process.as_str(), line.is_masked), ("shop", "web.1", true));
    assert_eq!(line.level, Some(dynowatch_domain::log_level::LogLevel::Error));
    assert!(!batch.lines[3].is_masked);
    // A filter sees what people see: nobody asks it for a secret.
    assert_eq!(texts(&some.batches.try_recv().unwrap()), ["ERROR boom password=[masked]"]);
    // Nothing new: nobody is told anything.
    assert!(tail.pass(&masker));
    assert!(all.batches.try_recv().is_err() && some.batches.try_recv().is_err());
}

#[test]
fn a_loud_app_does_not_drown_a_quiet_one() {
    let tail = tail();
    let mut watcher = tail.join(LineFilter::default(), None).unwrap();
    tail.offer(app(1), "loud", Share::ALL, &many("web.1", 0, 1_500), 1_500);
    tail.offer(app(1), "loud", Share::ALL, &many("web.1", 1_500, 3_000), 3_000);
    tail.offer(app(2), "quiet", Share::ALL, &body("web.1", 9, &["one", "two"]), 2);
    tail.pass(&Masker::default());
    let batch = watcher.batches.try_recv().unwrap();
    assert_eq!(batch.lines.len(), BATCH_LINES_MAX);
    let quiet: Vec<_> = batch.lines.iter().filter(|line| line.app_name == "quiet").collect();
    assert_eq!(quiet.len(), 2);
    assert_eq!(batch.lines.last().unwrap().text, "line 4499", "the newest are shown");
    assert_eq!(batch.missed, [("loud".to_owned(), 4_500 - 38)]);
}

/// What waits for a pass is bounded, for one app and for all; what found no room is told.
#[test]
fn bodies_beyond_the_bound_are_counted() {
    let tail = tail();
    let mut watcher = tail.join(LineFilter::default(), None).unwrap();
    let large = many("web.1", 0, 4_000);
    assert!(large.len() < APP_BYTES_MAX && 2 * large.len() > APP_BYTES_MAX / 2);
    for n in 0..100 {
        for id in 0..40 {
            tail.offer(app(id), &format!("app-{id:02}"), Share::ALL, &large, 4_000);
        }
        let inbox = lock(&tail.inbox);
        assert!(inbox.bytes <= WAITING_BYTES_MAX, "{n}: {}", inbox.bytes);
    }
    tail.pass(&Masker::default());
    let batch = watcher.batches.try_recv().unwrap();
    assert_eq!(batch.lines.len(), BATCH_LINES_MAX);
    let missed: u64 = batch.missed.iter().map(|(_, n)| n).sum();
    assert_eq!(missed + BATCH_LINES_MAX as u64, 100 * 40 * 4_000, "every line is shown or counted");
    assert_eq!(lock(&tail.inbox).bytes, 0);
    let state = lock(&tail.state);
    assert!(state.kept.len() <= LOOKED_AT_MAX && state.kept_bytes <= KEPT_BYTES_MAX);
}

/// Fifty people at full traffic: each gets a bounded batch, one that does not read holds up nobody, and what is kept stays
/// within its bound however long it goes on.
#[test]
fn fifty_watchers_at_full_traffic() {
    let tail = tail();
    let mut watchers: Vec<Joined> = (0..50)
        .map(|n| tail.join(if n % 2 == 0 { LineFilter::default() } else { filter("/line \\d+7$/") }, None).unwrap())
        .collect();
    let mut asleep = tail.join(LineFilter::default(), None).unwrap();
    let (mut shown, mut told) = (0, 0);
    for pass in 0..20 {
        for id in 0..10 {
            tail.offer(app(id), &format!("app-{id}"), Share::ALL, &many("web.1", pass * 1_000, 1_000), 1_000);
        }
        assert!(tail.pass(&Masker::default()));
        for watcher in &mut watchers {
            let batch = watcher.batches.try_recv().unwrap();
            assert!(batch.lines.len() <= BATCH_LINES_MAX && !batch.lines.is_empty());
            let apps: HashSet<&str> = batch.lines.iter().map(|line| line.app_name.as_str()).collect();
            assert_eq!(apps.len(), 10, "every app is heard");
            shown += batch.lines.len();
            told += batch.missed.iter().map(|(_, n)| n).sum::<u64>();
        }
    }
    assert!(shown > 0 && told > 0);
    let state = lock(&tail.state);
    assert!(state.kept.len() <= KEPT_LINES_MAX && state.kept_bytes <= KEPT_BYTES_MAX);
    drop(state);
    // Who did not read gets what waited, and then all that was missed as one number.
    for _ in 0..BATCHES_WAITING_MAX {
        asleep.batches.try_recv().unwrap();
    }
    tail.offer(app(1), "app-1", Share::ALL, &many("web.1", 0, 1), 1);
    tail.pass(&Masker::default());
    let batch = asleep.batches.try_recv().unwrap();
    let missed: u64 = batch.missed.iter().map(|(_, n)| n).sum();
    assert_eq!((batch.lines.len(), missed >= 16 * 10_000 - 16 * 40), (1, true), "{missed}");
    assert!(tail.missed.load(Ordering::Relaxed) > told);
}

/// While a drain is replaced two deliver the same lines: each is shown once.
#[test]
fn lines_of_two_drains_are_shown_once() {
    let tail = tail();
    let mut watcher = tail.join(LineFilter::default(), None).unwrap();
    let cutover = Timestamp::parse("2026-05-07T08:06:12.000002Z").unwrap();
    let lines = body("web.1", 0, &["a", "b", "c", "d"]);
    tail.offer(app(1), "shop", Share { from: None, until: Some(cutover) }, &lines, 2);
    tail.offer(app(1), "shop", Share { from: Some(cutover), until: None }, &lines, 2);
    tail.pass(&Masker::default());
    assert_eq!(texts(&watcher.batches.try_recv().unwrap()), ["a", "b", "c", "d"]);
}

#[test]
fn watchers_are_bounded() {
    let tail = tail();
    let joined: Vec<_> = (0..WATCHERS_MAX).map(|_| tail.join(LineFilter::default(), None).unwrap()).collect();
    assert!(tail.join(LineFilter::default(), None).is_none());
    tail.leave(joined[0].id);
    assert!(tail.join(LineFilter::default(), None).is_some());
}

#[test]
fn who_comes_back_gets_what_was_missed() {
    let tail = tail();
    let mut first = tail.join(LineFilter::default(), None).unwrap();
    tail.offer(app(1), "shop", Share::ALL, &body("web.1", 0, &["one"]), 1);
    tail.pass(&Masker::default());
    let seq = first.batches.try_recv().unwrap().seq;
    tail.leave(first.id);
    drop(first);
    tail.offer(app(1), "shop", Share::ALL, &body("web.1", 1, &["two", "three"]), 2);
    tail.pass(&Masker::default());
    let mut back = tail.join(filter("t"), Some(seq)).unwrap();
    assert!(back.resumed);
    assert_eq!(texts(&back.batches.try_recv().unwrap()), ["two", "three"]);
    // A place of another process, and one whose lines are gone, is no place to go on from.
    assert!(!tail.join(LineFilter::default(), Some(3)).unwrap().resumed);
    assert!(!tail.join(LineFilter::default(), Some(seq + 1_000)).unwrap().resumed);
    for n in 0..10 {
        tail.offer(app(1), "shop", Share::ALL, &many("web.1", n * 1_000, 1_000), 1_000);
        tail.pass(&Masker::default());
    }
    assert!(!tail.join(LineFilter::default(), Some(seq)).unwrap().resumed);
}

/// Others who watch less do not cost one who comes back its lines; where nobody looked for them, that is known.
#[test]
fn who_comes_back_misses_nothing_because_others_watch_less() {
    let of = |app: &str| LineQuery { app: app.to_owned(), ..LineQuery::default() }.read().unwrap();
    let tail = tail();
    let mut first = tail.join(LineFilter::default(), None).unwrap();
    let _narrow = tail.join(of("mail"), None).unwrap();
    let pass = |text: &str| {
        tail.offer(app(1), "shop", Share::ALL, &body("web.1", 0, &[text]), 1);
        tail.pass(&Masker::default());
    };
    pass("one");
    let seq = first.batches.try_recv().unwrap().seq;
    tail.leave(first.id);
    drop(first);
    pass("two");
    let mut back = tail.join(LineFilter::default(), Some(seq)).unwrap();
    assert!(back.resumed);
    assert_eq!(texts(&back.batches.try_recv().unwrap()), ["two"]);
    tail.leave(back.id);
    drop(back);
    // Long after it left nobody looks for its lines: it begins anew instead of missing some without a word.
    for _ in 0..101 {
        tail.pass(&Masker::default());
    }
    let seq = lock(&tail.state).seq;
    pass("three");
    assert!(!tail.join(LineFilter::default(), Some(seq)).unwrap().resumed);
    assert!(!tail.join(of("shop"), Some(seq)).unwrap().resumed);
    assert!(tail.join(of("mail"), Some(seq)).unwrap().resumed, "one who wanted none of those missed none");
    // A new filter was looked for since it came.
    let shop = tail.join(of("shop"), None).unwrap();
    let seq = lock(&tail.state).seq;
    pass("four");
    tail.leave(shop.id);
    assert!(tail.join(of("shop"), Some(seq)).unwrap().resumed);
    for _ in 0..2 * WATCHERS_MAX {
        let one = tail.join(of("blog"), None).unwrap();
        tail.leave(one.id);
    }
    assert_eq!(lock(&tail.state).away.len(), WATCHERS_MAX);
}

/// Heroku cuts a line at 10,000 bytes, wherever a secret lies.
#[test]
fn a_secret_that_lies_across_a_cut_is_masked() {
    let masker = Masker::with_values(vec!["hunter2-hunter2".to_owned()]);
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ456789";
    for secret in ["hunter2-hunter2", token] {
        for inside in [1, 5, 8, secret.len() - 1] {
            let whole = format!("{} {secret} and more", "x".repeat(10_000 - inside - 1));
            let (head, rest) = whole.split_at(10_000);
            let piece = |text: &str, newline: &str| {
                let line = format!("<190>1 2026-05-07T08:06:12.000001+00:00 host app web.1 - {text}{newline}");
                format!("{} {line}", line.len())
            };
            let (head, rest) = (piece(head, ""), piece(rest, "\n"));
            for apart in [false, true] {
                let tail = tail();
                let mut watcher = tail.join(LineFilter::default(), None).unwrap();
                let mut seen = Vec::new();
                let bodies = if apart { vec![head.clone(), rest.clone()] } else { vec![format!("{head}{rest}")] };
                for body in bodies {
                    tail.offer(app(1), "shop", Share::ALL, &body.into(), 1);
                    tail.pass(&masker);
                    seen.extend(watcher.batches.try_recv().unwrap().lines);
                }
                let end = seen[1].text.as_str();
                assert!(end.ends_with(" and more") && end.starts_with("[masked]"), "{secret} {inside} {apart}: {end}");
                assert_eq!(seen.iter().map(|line| line.is_masked).collect::<Vec<_>>(), [true, true]);
                assert!(seen.iter().all(|line| line.is_torn));
            }
            // On the page of one line all of it is shown, its end included; also when nobody knows how it goes on.
            let text = &whole.as_bytes()[..10_000];
            let raw = RawLine::new(Timestamp::UNIX_EPOCH, Source::App, b"web.1", text);
            let next = RawLine::new(Timestamp::UNIX_EPOCH, Source::App, b"web.1", &whole.as_bytes()[10_000..]);
            let mut both = [raw, next];
            assert!(know_neighbours(&mut both, &[]).is_empty());
            for raw in [raw, both[0]] {
                let shown = raw.see(raw.id(&[1; 16], app(1)), app(1), "shop", &masker, 16 * 1024).text;
                assert!(shown.ends_with(" [masked]"), "{secret} {inside}: {}", &shown[9_900..]);
            }
        }
    }
}

/// Pieces whose rest never comes are not held for ever, however many apps send them.
#[test]
fn pieces_that_wait_are_bounded() {
    let tail = tail();
    let _watcher = tail.join(LineFilter::default(), None).unwrap();
    let piece = |n: u128| {
        let text = "x".repeat(10_000);
        let line = format!("<190>1 2026-05-07T08:06:12.{n:06}+00:00 host app web.1 - {text}");
        format!("{} {line}", line.len())
    };
    for n in 0..40 {
        let lines: String = (0..20).map(|line| piece(n * 100 + line)).collect();
        tail.offer(app(n), "shop", Share::ALL, &lines.into(), 20);
    }
    tail.pass(&Masker::default());
    let held = || {
        let torn = lock(&tail.torn);
        (torn.len(), torn.values().map(Vec::len).max().unwrap_or(0))
    };
    assert_eq!(held(), (TORN_APPS_MAX, 16));
    (0..30).for_each(|_| _ = tail.pass(&Masker::default()));
    assert_eq!(held(), (0, 0));
    tail.offer(app(1), "shop", Share::ALL, &piece(7).into(), 1);
    tail.pass(&Masker::default());
    assert_eq!(held(), (1, 1));
}

/// The end of a long line is found again when the ring has forgotten its beginning: it shows no more than it did.
#[tokio::test]
async fn what_is_left_of_a_long_line_tells_no_secret() {
    let masker = Masker::with_values(vec!["hunter2-hunter2".to_owned()]);
    let bed = crate::bed::Bed::with(|options| options.settings.masker = masker.clone()).await;
    let engine = &bed.engine;
    let shop = Arc::clone(engine.apps().by_name("shop").unwrap());
    let mut watcher = engine.shared.tail.join(LineFilter::default(), None).unwrap();
    let send = |at: &str, text: &str, newline: &str| {
        let line = format!("<190>1 2026-05-07T08:00:{at}+00:00 host app web.1 - {text}{newline}");
        _ = engine.take(&shop, None, &format!("{} {line}", line.len()).into());
    };
    let whole = format!("{} hunter2-hunter2 and more", "x".repeat(9_990));
    send("00.1", &whole[..10_000], "");
    // So that the pieces lie apart in the ring.
    send("00.2", &"y".repeat(8_000), "\n");
    send("00.1", &whole[10_000..], "\n");
    engine.shared.tail.pass(&masker);
    let lines = watcher.batches.try_recv().unwrap().lines;
    let end = lines.iter().find(|line| line.text.ends_with(" and more")).unwrap();
    assert!(end.is_continued && end.text == "[masked] and more", "{}", end.text);
    let begins = || engine.ring_lines(&shop).iter().any(|line| line.text.starts_with(b"xxx"));
    while begins() {
        send("01.0", &"z".repeat(2_000), "\n");
    }
    assert!(engine.ring_lines(&shop).iter().any(|line| line.text.ends_with(b" and more")), "its end is still there");
    let found = engine.find_line(&shop, end.id).unwrap();
    assert_eq!((found.seen.text.as_str(), found.seen.is_masked), ("[masked] and more", true));
    assert!(!format!("{:?}", found.suggestion).contains("unter"), "{:?}", found.suggestion);
}

#[test]
fn lines_that_caused_an_alert_are_marked_even_after_they_were_shown() {
    let tail = tail();
    let mut watcher = tail.join(LineFilter::default(), None).unwrap();
    let alert = AlertId(uuid::Uuid::from_u128(9));
    let at = Timestamp::parse("2026-05-07T08:06:12Z").unwrap();
    let line = |text: &str, micros| {
        EvidenceLine::new(at + Duration::from_micros(micros), Source::App, b"web.1", text.as_bytes(), Role::Match)
    };
    tail.offer(app(1), "shop", Share::ALL, &body("web.1", 0, &["boom"]), 1);
    tail.pass(&Masker::default());
    let shown = watcher.batches.try_recv().unwrap();
    assert_eq!(shown.lines[0].alert, None);
    tail.mark(app(1), &[line("boom", 0), line("bang", 1)], alert);
    tail.mark(app(2), &[line("boom", 0)], alert);
    tail.offer(app(1), "shop", Share::ALL, &body("web.1", 1, &["bang", "boom"]), 2);
    tail.pass(&Masker::default());
    let batch = watcher.batches.try_recv().unwrap();
    assert!(batch.marks.contains(&(shown.lines[0].id, alert)));
    assert_eq!(batch.lines.iter().map(|line| line.alert).collect::<Vec<_>>(), [Some(alert), None]);
    for n in 0..2 * MARKS_MAX as u64 {
        tail.mark(app(1), &[line("x", n)], alert);
    }
    assert_eq!(lock(&tail.marks).alerts.len(), MARKS_MAX);
}

#[test]
fn secrets_are_not_cut_in_half_and_names_do_not_tell() {
    let masker = Masker::with_values(vec!["hunter2-hunter2".to_owned()]);
    let at = Timestamp::UNIX_EPOCH;
    let text = format!("{}hunter2-hunter2", "x".repeat(SHOWN_BYTES_MAX - 8));
    let raw = RawLine::new(at, Source::App, b"hunter2-hunter2", text.as_bytes());
    let seen = raw.see(raw.id(&[1; 16], app(1)), app(1), "shop", &masker, SHOWN_BYTES_MAX);
    assert!(!seen.text.contains("hunter") && seen.process == "[masked]" && seen.is_masked, "{seen:?}");
    assert_ne!(raw.id(&[1; 16], app(1)), raw.id(&[2; 16], app(1)), "the key counts");
    assert_eq!(seen.id.to_string().parse(), Ok(seen.id));
}

/// What pages were loaded with stays within its bound, and each line is held once.
#[test]
fn lines_that_pages_showed_are_bounded() {
    let tail = tail();
    let masker = Masker::default();
    let line = |n: u64| {
        let text = format!("line {n} {}", "x".repeat(1_000));
        let at = Timestamp::UNIX_EPOCH + Duration::from_micros(n);
        let raw = RawLine::new(at, Source::App, b"web.1", text.as_bytes());
        Arc::new(raw.see(raw.id(&tail.key, app(1)), app(1), "shop", &masker, SHOWN_BYTES_MAX))
    };
    let mut state = lock(&tail.state);
    for load in 0..60 {
        let lines: Vec<_> = (0..200).map(|n| line(load * 100 + n)).collect();
        let mut raws = lines.iter().map(|line| (line.id, vec![b'x'; 1_000].into_boxed_slice())).collect();
        state.remember(&lines, &mut raws);
        assert!(state.shown.len() <= KEPT_LINES_MAX && state.shown_bytes <= KEPT_BYTES_MAX, "{}", state.shown_bytes);
        assert_eq!(state.shown.len(), state.shown_order.len());
        assert!(lines.iter().all(|line| state.find(app(1), line.id).is_some()));
        assert!(state.find(app(2), lines[0].id).is_none(), "another app's line is nobody's");
    }
    assert!(state.find(app(1), line(0).id).is_none(), "the oldest went");
}

proptest! {
    /// Whatever arrives: every line of a wanted app is shown or counted, in batches of bounded size.
    #[test]
    fn shown_or_counted(passes in prop::collection::vec(prop::collection::vec((0_u128..6, 0_usize..120), 0..8), 1..6)) {
        let tail = tail();
        let mut watcher = tail.join(LineFilter::default(), None).unwrap();
        let (mut sent, mut seen) = (0, 0);
        for (n, offers) in passes.iter().enumerate() {
            for (id, lines) in offers {
                tail.offer(app(*id), &format!("app-{id}"), Share::ALL, &many("web.1", n * 1_000, *lines), *lines as u64);
                sent += *lines as u64;
            }
            tail.pass(&Masker::default());
            while let Ok(batch) = watcher.batches.try_recv() {
                prop_assert!(batch.lines.len() <= BATCH_LINES_MAX);
                prop_assert!(batch.lines.is_sorted_by_key(|line| line.at));
                seen += batch.lines.len() as u64 + batch.missed.iter().map(|(_, n)| n).sum::<u64>();
            }
        }
        prop_assert_eq!(sent, seen);
    }
}
