//! SQLite's journal of evaluations: nobody can tell it from the tables.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use dynowatch_domain::alert::Track;
use dynowatch_domain::key::Key;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::alerts::AlertFilter;
use dynowatch_store::{Changes, EvaluateRequest, Saved, Store, StoreError, StoreOptions, TrackChange};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use crate::bed::{Bed, change, counted, facts, firing, key, line, request, t};

/// The server of a SQLite file, and what it holds in memory of two keys.
struct Server {
    store: Store,
    app: AppId,
    keys: [Key; 2],
    version: i64,
}

impl Server {
    async fn start(bed: &Bed) -> Self {
        let store = Store::open(&StoreOptions { exclusive: true, ..bed.options.clone() }).await.unwrap();
        let app = bed.app("shop").await;
        let keys = [key(app, "h12"), key(app, "h13")];
        let loaded = store.evaluate(request(t(0), &keys), |loaded| (Changes::default(), loaded)).await.unwrap();
        let version = loaded.tracks.get(&keys[0]).map_or(0, |track| track.version);
        let mut server = Self { store, app, keys, version };
        if version == 0 {
            // New keys, and an alert that goes on, are written as they are.
            server.version = 1;
            let (tracks, now) = (server.step(t(1)), t(1));
            let changes = Changes { tracks, ..Changes::default() };
            server.store.evaluate(request(now, &server.keys), |_| (changes, ())).await.unwrap();
        }
        server
    }

    /// One match more of each key.
    fn step(&self, now: Timestamp) -> Vec<TrackChange> {
        let version = self.version;
        let step = |key: &Key| TrackChange {
            moved: false,
            next_wake_at: Some(now),
            events: vec![counted(version, version)],
            lines: vec![line(format!("{} {version} \0é\"", key.rule).as_bytes())],
            ..change(key, version, Track { cooldown_until: Some(now), ..Track::default() })
        };
        self.keys.iter().map(step).collect()
    }

    /// The next version: what is asked, and what changes.
    fn next(&mut self) -> (EvaluateRequest, Changes) {
        self.version += 1;
        let now = t(self.version);
        let request = EvaluateRequest {
            now,
            frames: vec![(self.app, format!("frame-{}", self.version))],
            keys: self.keys.to_vec(),
            known: self.keys.iter().map(|key| (key.clone(), self.version - 1)).collect(),
        };
        (request, Changes { tracks: self.step(now), ..Changes::default() })
    }

    async fn save(&mut self, change: impl FnOnce(&mut Changes)) -> Saved {
        let (request, mut changes) = self.next();
        change(&mut changes);
        self.store.save_known(&request, &changes).await.unwrap()
    }

    /// Nothing of the next version is taken: what is held in memory may be out of date.
    async fn is_told(&mut self) {
        assert_eq!(self.save(|_| ()).await, Saved::OthersWrote);
        self.version -= 1;
    }

    async fn append(&mut self) {
        assert_eq!(self.save(|_| ()).await, Saved::Yes);
    }

    /// What a store says of the keys: everything up to the newest version, in order.
    async fn assert_whole(&self, store: &Store) {
        let loaded = store.evaluate(request(t(500), &self.keys), |loaded| (Changes::default(), loaded)).await.unwrap();
        for key in &self.keys {
            let track = &loaded.tracks[key];
            assert_eq!(track.version, self.version);
            assert_eq!(track.track.as_ref().unwrap().cooldown_until, Some(t(self.version)));
            let events: Vec<_> = (1..=self.version).map(|n| counted(n, n)).collect();
            assert_eq!(track.events, events);
            let texts = |from| (from..=self.version).map(|n| format!("{} {n} \0é\"", key.rule).into_bytes());
            let lines: Vec<_> = track.lines.iter().map(|line| line.text.clone()).collect();
            assert_eq!(lines, texts((self.version - 9).max(1)).collect::<Vec<_>>());
        }
    }
}

async fn raw(bed: &Bed) -> SqliteConnection {
    SqliteConnectOptions::new().filename(bed.folder.path().join("dynowatch.db")).connect().await.unwrap()
}

async fn number(bed: &Bed, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut raw(bed).await).await.unwrap()
}

const WAITING: &str = "SELECT COUNT(*) FROM evaluations WHERE body IS NOT NULL";

#[tokio::test]
async fn what_waits_is_seen_by_a_command_and_by_the_next_server() {
    let bed = Bed::sqlite().await;
    let mut server = Server::start(&bed).await;
    for _ in 0..12 {
        server.append().await;
    }
    assert_eq!(number(&bed, WAITING).await, 12);
    server.assert_whole(&bed.again().await).await;
    assert_eq!(number(&bed, WAITING).await, 0, "who looks, folds");

    // The command has counted as an evaluation: what the server holds may be out of date, until it has looked.
    server.is_told().await;
    server.assert_whole(&server.store).await;
    for _ in 0..3 {
        server.append().await;
    }

    // Killed: the next one knows keys and frames.
    let Server { store, .. } = server;
    drop(store);
    assert_eq!(number(&bed, WAITING).await, 3);
    let next = Server::start(&bed).await;
    assert_eq!(number(&bed, WAITING).await, 0, "a start folds");
    assert_eq!(next.version, 16);
    next.assert_whole(&next.store).await;
    let frames = ["frame-16", "frame-2", "frame-17"].map(|frame| (next.app, frame.to_owned())).to_vec();
    let ask = EvaluateRequest { now: t(20), frames, ..EvaluateRequest::default() };
    let new = next.store.evaluate(ask, |loaded| (Changes::default(), loaded.new_frames)).await.unwrap();
    assert_eq!(new, [false, false, true]);
}

/// Between what a command did and the server's next commit something of the server's own may fold, or evaluate other keys.
#[tokio::test]
async fn a_command_is_seen_whatever_comes_in_between() {
    let bed = Bed::sqlite().await;
    let mut server = Server::start(&bed).await;
    for between in 0..4 {
        server.append().await;
        server.assert_whole(&bed.again().await).await;
        let other = key(server.app, "h14");
        match between {
            0 => drop(server.store.alerts(&AlertFilter { limit: 5, ..AlertFilter::default() }).await.unwrap()),
            1 => drop(server.store.due_keys(t(900), 5).await.unwrap()),
            2 => server.store.evaluate(request(t(900), &[other]), |_| (Changes::default(), ())).await.unwrap(),
            _ => server.store.forget_frames(&[]).await.unwrap(),
        }
        server.is_told().await;
        server.assert_whole(&server.store).await;
    }
    // Nor is it certain after a transaction whose end nobody saw.
    let store = server.store.clone();
    let panics =
        async move { store.evaluate(request(t(900), &[]), |_| -> (Changes, ()) { panic!("on purpose") }).await };
    assert!(tokio::spawn(panics).await.unwrap_err().is_panic());
    server.is_told().await;
    server.append().await;
    server.assert_whole(&server.store).await;
}

/// Nobody waits for an append any more: it is done, or it never will be.
#[tokio::test]
async fn an_append_given_up_leaves_all_or_nothing() {
    let bed = Bed::sqlite().await;
    let mut server = Server::start(&bed).await;
    let mut kept = 0;
    for polls in 0..40 {
        let before = server.version;
        let (mut ask, changes) = server.next();
        ask.frames = vec![(server.app, format!("given-up-{polls}"))];
        {
            let mut future = pin!(server.store.save_known(&ask, &changes));
            for _ in 0..polls {
                if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let again = EvaluateRequest { known: [].into(), ..ask };
        let loaded = server.store.evaluate(again, |loaded| (Changes::default(), loaded)).await.unwrap();
        let version = loaded.tracks[&server.keys[0]].version;
        assert_eq!(loaded.new_frames, [version == before], "after {polls} polls");
        server.version = version;
        server.assert_whole(&server.store).await;
        kept += usize::from(version > before);
    }
    assert!(kept < 40);
}

#[tokio::test]
async fn it_is_bounded_and_so_are_the_rows_it_becomes() {
    let bed = Bed::sqlite().await;
    let mut server = Server::start(&bed).await;
    for _ in 0..200 {
        server.append().await;
        assert!(number(&bed, WAITING).await <= 64);
    }
    // Few but long ones, too.
    let long = |changes: &mut Changes| changes.tracks[0].lines = vec![line(&[b'x'; 10_000]); 10];
    let mut most = 0;
    for _ in 0..20 {
        assert_eq!(server.save(long).await, Saved::Yes);
        most = most.max(number(&bed, "SELECT SUM(LENGTH(body)) FROM evaluations").await);
    }
    assert!((512 << 10..700 << 10).contains(&most), "{most}");
    server.store.close().await;
    assert_eq!(number(&bed, WAITING).await, 0, "an orderly end leaves nothing");
    assert_eq!(number(&bed, "SELECT MAX(json_array_length(lines)) FROM matches").await, 10);
    let rows = number(&bed, "SELECT COUNT(*) FROM matches").await;
    assert!(rows < 150, "{rows} rows for 442");
    assert_eq!(number(&bed, "SELECT SUM(count) FROM matches").await, 2 * server.version);
    assert_eq!(number(&bed, "SELECT COUNT(*) FROM frames").await, server.version - 1);
}

/// What is open, and since when, is never behind: those who wait for a key to be due read the tables.
#[tokio::test]
async fn a_key_that_moves_is_written_at_once() {
    let bed = Bed::sqlite().await;
    let mut server = Server::start(&bed).await;
    server.append().await;
    assert_eq!(server.save(|changes| changes.tracks[0].moved = true).await, Saved::Yes);
    assert_eq!(number(&bed, WAITING).await, 0);
    server.append().await;
    assert_eq!(server.save(|changes| changes.tracks[1].consumed_before = Some(t(-5))).await, Saved::Yes);
    assert_eq!(number(&bed, WAITING).await, 0);
    server.assert_whole(&server.store).await;
}

#[tokio::test]
async fn an_open_alert_shows_its_newest_numbers() {
    let bed = Bed::sqlite().await;
    let r14 = key(bed.app("shop").await, "r14");
    let (alert, _) = bed.fire(&r14, t(9), &[]).await;
    let mut server = Server::start(&bed).await;
    let mut track = firing(alert, t(9));
    if let dynowatch_domain::alert::Phase::Firing(firing) = &mut track.phase {
        firing.facts = facts(77);
    }
    let known = [(r14.clone(), 1)].into();
    let request = EvaluateRequest { known, ..request(t(10), std::slice::from_ref(&r14)) };
    let tracks = vec![TrackChange { moved: false, ..change(&r14, 2, track) }];
    let changes = Changes { tracks, ..Changes::default() };
    server.append().await;
    assert_eq!(server.store.save_known(&request, &changes).await.unwrap(), Saved::Yes);
    assert_eq!(number(&bed, WAITING).await, 2);
    let rows = server.store.alerts(&AlertFilter { limit: 5, ..AlertFilter::default() }).await.unwrap();
    assert_eq!((rows.len(), rows[0].facts.count), (1, 77));
    assert_eq!(number(&bed, WAITING).await, 0);
}

#[tokio::test]
async fn a_backup_has_it() {
    let bed = Bed::sqlite().await;
    let mut server = Server::start(&bed).await;
    for _ in 0..5 {
        server.append().await;
    }
    let file = bed.folder.path().join("backup.jsonl");
    bed.again().await.backup(&file).await.unwrap();
    let other = bed.other().await;
    let empty = StoreOptions::new(&other.options.url);
    Store::restore(&file, &empty).await.unwrap();
    server.assert_whole(&Store::open(&empty).await.unwrap()).await;
}

#[tokio::test]
async fn a_broken_row_is_named() {
    let bed = Bed::sqlite().await;
    let mut server = Server::start(&bed).await;
    server.append().await;
    drop(server);
    sqlx::query("UPDATE evaluations SET body = '{\"frames\":[]' WHERE body IS NOT NULL")
        .execute(&mut raw(&bed).await)
        .await
        .unwrap();
    let error = Store::open(&StoreOptions { exclusive: true, ..bed.options.clone() }).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what } if what.starts_with("evaluation ")), "{error}");
}
