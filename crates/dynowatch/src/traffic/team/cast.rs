//! Who is in the team: names, formation, add-ons, and the constants of each one's fate.

use super::super::rng::Rng;

/// Length of a round: every story returns after it.
pub(super) const ROUND_US: i64 = 600 * SECOND_US;
pub(super) const SECOND_US: i64 = 1_000_000;

/// What an app goes through in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Storm,
    Leak,
    BadRelease,
    Healthy,
}

/// One app of the team, as written in its program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    pub(super) name: &'static str,
    pub(super) host: &'static str,
    pub(super) fate: Fate,
    /// Web dynos come first.
    pub(super) dynos: &'static [&'static str],
    pub(super) webs: u64,
    /// Mean time between two requests.
    pub(super) request_every_us: i64,
    pub(super) postgres: &'static str,
    pub(super) redis: &'static str,
}

pub(super) const CAST: [Role; 4] = [
    Role {
        name: "shop-web",
        host: "shop.example.com",
        fate: Fate::Storm,
        dynos: &["web.1", "web.2", "web.3", "worker.1"],
        webs: 3,
        request_every_us: 250_000,
        postgres: "postgresql-flat-12345",
        redis: "redis-calm-54321",
    },
    Role {
        name: "billing-worker",
        host: "billing.example.com",
        fate: Fate::Leak,
        dynos: &["web.1", "worker.1", "worker.2"],
        webs: 1,
        request_every_us: 1_700_000,
        postgres: "postgresql-round-20202",
        redis: "redis-deep-30303",
    },
    Role {
        name: "api-prod",
        host: "api.example.com",
        fate: Fate::BadRelease,
        dynos: &["web.1", "web.2", "worker.1"],
        webs: 2,
        request_every_us: 400_000,
        postgres: "postgresql-clear-40404",
        redis: "redis-quiet-50505",
    },
    Role {
        name: "reports",
        host: "reports.example.com",
        fate: Fate::Healthy,
        dynos: &["web.1", "worker.1"],
        webs: 1,
        request_every_us: 1_100_000,
        postgres: "postgresql-tall-60606",
        redis: "redis-slow-70707",
    },
];

/// A role with the ids a seed gives it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) role: Role,
    pub(super) drain_token: String,
    pub(super) app_number: u64,
    /// Nothing goes wrong.
    pub(super) is_quiet: bool,
    seed: u64,
}

impl Member {
    pub(super) fn new(seed: u64, role: &Role) -> Self {
        let mut rng = Rng::derived(seed, role.name);
        Member {
            role: *role,
            drain_token: format!("d.{}", rng.uuid()),
            app_number: rng.range(100_000_000, 199_999_999),
            is_quiet: false,
            seed: rng.next_u64(),
        }
    }

    pub(super) fn quiet(seed: u64, role: &Role) -> Self {
        Self { is_quiet: true, ..Self::new(seed, role) }
    }

    /// Whether this fate strikes at this second of the round.
    pub(super) fn suffers(&self, fate: Fate, during_s: &std::ops::Range<i64>, moment: Moment) -> bool {
        !self.is_quiet && self.role.fate == fate && during_s.contains(&moment.second)
    }

    /// The id of a dyno after so many restarts; it changes with every one.
    pub(super) fn dyno_id(&self, dyno: &str, restarts: i64) -> String {
        Rng::derived(self.seed, &format!("{dyno} {restarts}")).uuid()
    }
}

/// Percent of the mean pause between two requests: a wave of 47 minutes, so that charts show a day's ups and downs.
pub(super) fn pause_percent(at_us: i64) -> i64 {
    const WAVE_S: i64 = 47 * 60;
    let place = (at_us / SECOND_US).rem_euclid(WAVE_S);
    let rise = place.min(WAVE_S - place);
    65 + 70 * rise / (WAVE_S / 2)
}

/// A point in the story: which round, and how far into it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) round: i64,
    pub(super) second: i64,
}

impl Moment {
    pub(super) fn new(elapsed_us: i64) -> Self {
        Moment { round: elapsed_us.div_euclid(ROUND_US), second: elapsed_us.rem_euclid(ROUND_US) / SECOND_US }
    }
}

/// The storm of `shop-web`, in seconds of the round.
pub(super) const STORM_S: std::ops::Range<i64> = 12..110;
/// The leak of `billing-worker`'s `worker.1`: from a fresh dyno to its end by R15.
pub(super) const LEAK_S: std::ops::Range<i64> = 0..80;
/// `api-prod` between the first crash of the bad release and the rollback's dynos being up.
pub(super) const DOWN_S: std::ops::Range<i64> = 33..182;
pub(super) const BAD_RELEASE_S: i64 = 25;
pub(super) const ROLLBACK_S: i64 = 170;
/// The first bad release; each round takes two numbers, one for the release and one for its rollback.
pub(super) const BAD_RELEASE: i64 = 42;

/// The last good release before the story, and the round of the quiet hours in which it comes.
pub(super) const GOOD_RELEASE: i64 = BAD_RELEASE - 1;
pub(super) const GOOD_RELEASE_ROUND: i64 = 6;
/// How long quiet hours are meant to be, in seconds: not so long that metrics take their first lines for late.
pub const QUIET_S: i64 = 110 * 60;

/// Memory quota of every dyno of the demo, in hundredths of a megabyte.
pub(super) const QUOTA_CENTI_MB: u64 = 51_200;

/// Resident memory of the leaking worker in hundredths of a megabyte: 380 MB at the start of a round, over its quota of
/// 512 MB after some 15 s, twice that at the end of the leak; a calm 160 MB and slowly more after its restart.
pub(super) fn leaking_rss(moment: Moment) -> u64 {
    let second = moment.second.unsigned_abs();
    if LEAK_S.contains(&moment.second) {
        38_000 + second * 870
    } else {
        16_000 + (second - LEAK_S.end.unsigned_abs()) * 42
    }
}

/// Resident memory of the same worker in quiet hours: it grows to where the story finds it.
pub(super) fn growing_rss(moment: Moment) -> u64 {
    let elapsed_s = (moment.round * (ROUND_US / SECOND_US) + moment.second).clamp(0, QUIET_S).unsigned_abs();
    16_000 + 22_000 * elapsed_s / QUIET_S.unsigned_abs()
}
