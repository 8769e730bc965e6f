//! A fresh store, and short words for what tests put into it.

use std::sync::atomic::{AtomicU64, Ordering};

use dynowatch_domain::alert::{Facts, Firing, Noted, NoticeKind, Phase, Track};
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::notice::Notice;
use dynowatch_domain::rule::Severity;
use dynowatch_domain::signal::Source;
use dynowatch_domain::window::Counted;
use dynowatch_domain::{AlertId, AppId, DeliveryId, Timestamp};
use dynowatch_store::apps::AppOrigin;
use dynowatch_store::{
    AlertDetails, Changes, EvaluateRequest, FiredAlert, Loaded, NewDelivery, Store, StoreOptions, TrackChange,
};
use dynowatch_testkit::postgres::TestDatabase;
use tempfile::TempDir;
use uuid::Uuid;

/// An entry of the audit log, for what needs one.
pub(crate) fn act() -> dynowatch_domain::account::audit::Act {
    dynowatch_domain::account::audit::Actor::here("test").did("test.act", "")
}

/// A token of the API that may everything.
pub(crate) fn token(id: Uuid, name: &str, hash: u8) -> dynowatch_store::tokens::NewApiToken {
    let scopes = dynowatch_domain::account::Scopes::all();
    dynowatch_store::tokens::NewApiToken {
        id,
        name: name.into(),
        hash: [hash; 32],
        scopes,
        expires_at: None,
        user: None,
    }
}

/// A store of its own for one test.
pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) options: StoreOptions,
    pub(crate) folder: TempDir,
    database: Option<TestDatabase>,
}

impl Bed {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(&format!("sqlite://{}", folder.path().join("dynowatch.db").display()));
        Self { store: Store::open(&options).await.unwrap(), options, folder, database: None }
    }

    pub(crate) async fn postgres() -> Self {
        let database = TestDatabase::create().await;
        let options = StoreOptions::new(database.url());
        let store = Store::open(&options).await.unwrap();
        Self { store, options, folder: tempfile::tempdir().unwrap(), database: Some(database) }
    }

    /// An empty store on the other engine.
    pub(crate) async fn other(&self) -> Self {
        if self.database.is_some() { Self::sqlite().await } else { Self::postgres().await }
    }

    /// The same store, opened once more: another process.
    pub(crate) async fn again(&self) -> Store {
        Store::open(&self.options).await.unwrap()
    }

    pub(crate) async fn app(&self, name: &str) -> AppId {
        self.store.ensure_app(AppId(id()), name, AppOrigin::File, t(0)).await.unwrap().id
    }

    /// Saves without looking.
    pub(crate) async fn save(&self, now: Timestamp, changes: Changes) {
        self.store.evaluate(request(now, &[]), |_| (changes, ())).await.unwrap();
    }

    pub(crate) async fn load(&self, now: Timestamp, keys: &[Key]) -> Loaded {
        self.store.evaluate(request(now, keys), |loaded| (Changes::default(), loaded)).await.unwrap()
    }

    /// An alert that fired, with its track and one firing notice to each receiver.
    pub(crate) async fn fire(&self, key: &Key, at: Timestamp, receivers: &[&str]) -> (AlertId, Vec<DeliveryId>) {
        let alert = AlertId(id());
        let deliveries: Vec<NewDelivery> = receivers.iter().map(|name| firing_to(alert, name, at)).collect();
        let ids = deliveries.iter().map(|new| new.id).collect();
        let changes = Changes {
            tracks: vec![change(key, 1, firing(alert, at))],
            fired: vec![fired(alert, key, at)],
            deliveries,
            ..Changes::default()
        };
        self.save(at, changes).await;
        (alert, ids)
    }
}

/// A new id. Ids made later sort later.
pub(crate) fn id() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Uuid::from_u64_pair(0x0198_0000_0000_7000, (1 << 63) | NEXT.fetch_add(1, Ordering::Relaxed))
}

/// That many seconds after some day in 2026.
pub(crate) fn t(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_780_000_000 + seconds)
}

pub(crate) fn key(app: AppId, rule: &str) -> Key {
    Key { app, rule: rule.to_owned(), group: Group::default() }
}

pub(crate) fn request(now: Timestamp, keys: &[Key]) -> EvaluateRequest {
    EvaluateRequest { now, keys: keys.to_vec(), ..EvaluateRequest::default() }
}

pub(crate) fn change(key: &Key, version: i64, track: Track) -> TrackChange {
    TrackChange {
        moved: true,
        key: key.clone(),
        version,
        track,
        next_wake_at: None,
        events: Vec::new(),
        lines: Vec::new(),
        consumed_before: None,
    }
}

pub(crate) fn counted(at: i64, arrived: i64) -> Counted {
    Counted { at: t(at), arrived: t(arrived) }
}

pub(crate) fn line(text: &[u8]) -> EvidenceLine {
    EvidenceLine::new(t(0), Source::App, b"web.1", text, Role::Match)
}

pub(crate) fn facts(count: u64) -> Facts {
    Facts { count, of: None, level: None, lower_bound: false, at: t(3), first_at: t(0), last_at: t(3) }
}

pub(crate) fn firing(alert: AlertId, at: Timestamp) -> Track {
    let firing = Firing {
        alert,
        fired_at: at,
        told: true,
        holds_until: at,
        facts: facts(4),
        suppressed: 0,
        noted: Noted::default(),
    };
    Track { phase: Phase::Firing(firing), cooldown_until: Some(at), previous: Some(alert) }
}

pub(crate) fn fired(alert: AlertId, key: &Key, at: Timestamp) -> FiredAlert {
    FiredAlert {
        id: alert,
        key: key.clone(),
        severity: Severity::Critical,
        fired_at: at,
        facts: facts(4),
        told: true,
        previous: None,
        details: AlertDetails {
            threshold: "> 3".to_owned(),
            runbook: Some("docs/run.md".to_owned()),
            ..AlertDetails::default()
        },
        evidence: vec![line(b"code=H12"), line(b"caf\xe9 \0")],
    }
}

pub(crate) fn notice(kind: NoticeKind, alert: Option<AlertId>) -> Notice {
    Notice {
        kind,
        alert,
        key: "h12/shop".to_owned(),
        rule: "h12".to_owned(),
        severity: Severity::Critical,
        app: "shop".to_owned(),
        group: vec![("dyno".to_owned(), "web.1".to_owned())],
        meaning: String::new(),
        measured: "4 events".to_owned(),
        threshold: "> 3".to_owned(),
        window: "5m".to_owned(),
        at: t(3),
        first_at: t(0),
        last_at: t(3),
        suppressed: 0,
        lower_bound: Vec::new(),
        evidence: vec!["code=H12".to_owned()],
        release: String::new(),
        runbook: None,
        link: None,
        resolved_at: None,
    }
}

pub(crate) fn firing_to(alert: AlertId, receiver: &str, at: Timestamp) -> NewDelivery {
    NewDelivery {
        id: DeliveryId(id()),
        alert: Some(alert),
        receiver: receiver.to_owned(),
        kind: NoticeKind::Firing,
        notice: notice(NoticeKind::Firing, Some(alert)),
        send_resolved: true,
        intended_at: at,
    }
}
