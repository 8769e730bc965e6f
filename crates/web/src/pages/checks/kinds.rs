//! The fields of a check's form: those that every kind has, and those of each kind. Their keys are the keys of `[[checks]]` in
//! the configuration file; what is right in them is said by its reader.

use super::super::form::{Field, Kind};

const fn text(key: &'static str, label: &'static str, hint: &'static str) -> Field {
    Field { key, label, hint, kind: Kind::Text }
}

const fn field(key: &'static str, label: &'static str, hint: &'static str, kind: Kind) -> Field {
    Field { key, label, hint, kind }
}

/// A kind of check, as one chooses it.
pub(super) struct KindForm {
    /// As in the file.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What it does, in a sentence.
    pub(super) what: &'static str,
    /// What it looks at.
    pub(super) target: &'static [Field],
    /// What few need.
    pub(super) more: &'static [Field],
    /// Whether assertions can be made.
    pub(super) asserts: bool,
    /// An assertion that makes sense, for the hint.
    pub(super) example: &'static str,
}

const CONFIG_VAR: Field = text(
    "config_var",
    "Or a config var of the app",
    "As in `REDIS_URL`: read from Heroku before a run, so that a rotation of credentials is followed",
);
const URL_ENV: Field = text(
    "url_env",
    "Or the variable with the URL",
    "Its name in dynowatch's own environment, for a URL with a password",
);
const TLS: Field = field(
    "tls",
    "Certificate",
    "`verify` by public roots and name, `pin` the first key that is seen, or by a `ca` of your own",
    Kind::OneOr("as fits the target", &["verify", "pin", "ca"]),
);
const CA: Field = field("ca", "CA", "Certificates in PEM, for `ca`", Kind::Area);
const FAMILY: Field = field("ip_family", "Address", "Which one is dialled", Kind::One(&["any", "ipv4", "ipv6"]));
const HOST: Field = text("host", "Host", "A name or an address, as in `mail.example.com`");

pub(super) const KINDS: [KindForm; 8] = [
    KindForm {
        name: "web",
        title: "Web page or API",
        what: "Asks for a URL and looks at status, headers, body, time and certificate.",
        target: &[
            text("url", "URL", "As in `https://shop.example.com/health`; it may hold no password"),
            URL_ENV,
            CONFIG_VAR,
            field("method", "Method", "", Kind::One(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])),
        ],
        more: &[
            field("headers", "Headers", "`name: value`, one to a line; secrets go below", Kind::Pairs),
            field(
                "headers_env",
                "Headers with secrets",
                "`authorization: VARIABLE`: the name of the variable that holds the value",
                Kind::Pairs,
            ),
            field("body", "Body", "What is sent", Kind::Area),
            text("body_env", "Or the variable with the body", "Its name"),
            text("redirects", "Redirects", "`refuse` (else), `follow 5`, `same host 5` or `expect 301`"),
            field("http_version", "HTTP", "", Kind::One(&["any", "1.1", "2"])),
            field(
                "body_bytes_max",
                "Bytes of the answer",
                "A longer one is down; 262144 where nothing is written",
                Kind::Number,
            ),
            FAMILY,
            TLS,
            CA,
        ],
        asserts: true,
        example: "status = 200",
    },
    KindForm {
        name: "redis",
        title: "Redis or Valkey",
        what: "Signs in, says PING, and measures memory, clients and the length of a list.",
        target: &[
            text("url", "URL", "As in `rediss://cache.example.com:6380`; it may hold no password"),
            URL_ENV,
            CONFIG_VAR,
            text("key", "Key", "A list, set, stream or hash whose length is measured, as in `queue:default`"),
        ],
        more: &[FAMILY, TLS, CA],
        asserts: true,
        example: "length < 500 clear 450",
    },
    KindForm {
        name: "postgres",
        title: "Postgres",
        what: "Signs in, asks SELECT 1, and looks at a table, a query of yours, connections and replication.",
        target: &[
            text("url", "URL", "As in `postgres://db.example.com/shop`; it may hold no password"),
            URL_ENV,
            CONFIG_VAR,
            text("table", "Table", "One that must be there, as in `public.orders`"),
            field("query", "Query", "One statement that only reads", Kind::Area),
            field("role", "It is meant to be", "", Kind::One(&["leader", "follower", "any"])),
        ],
        more: &[FAMILY, TLS, CA],
        asserts: true,
        example: "connections.percent < 80 % else degraded",
    },
    KindForm {
        name: "heartbeat",
        title: "Job that reports",
        what: "Gives a job an address to report to, and is down when it does not in time.",
        target: &[
            text("every", "Every", "How often it reports, as in `10m`"),
            text("cron", "Or by cron", "Five fields, as in `30 3 * * mon-fri`"),
            text("time_zone", "Time zone of cron", "As in `Europe/Berlin`; empty means UTC"),
            text("grace", "Grace", "How late it may be; empty means `5m`"),
            text("run_max", "A run takes at most", "From its start to its end; empty means as long as the grace"),
        ],
        more: &[],
        asserts: false,
        example: "",
    },
    KindForm {
        name: "heroku",
        title: "What Heroku says",
        what: "Asks Heroku whether the dynos of an app are up, its release succeeded, its maintenance mode is off.",
        target: &[
            field("target", "Looks at", "", Kind::One(&["dynos", "release", "maintenance"])),
            text("process_type", "Whose dynos", "A process type, as in `worker`; empty means `web`"),
        ],
        more: &[],
        asserts: false,
        example: "",
    },
    KindForm {
        name: "tls",
        title: "Certificate",
        what: "Makes the handshake and looks at how long the verified path of the certificate holds.",
        target: &[HOST, field("port", "Port", "Empty means 443", Kind::Number)],
        more: &[FAMILY, TLS, CA],
        asserts: true,
        example: "certificate.days > 14 else degraded",
    },
    KindForm {
        name: "tcp",
        title: "Port",
        what: "Connects to a port.",
        target: &[HOST, field("port", "Port", "As in `587`", Kind::Number)],
        more: &[FAMILY],
        asserts: true,
        example: "response < 200 ms",
    },
    KindForm {
        name: "dns",
        title: "DNS records",
        what: "Asks for the records of a name.",
        target: &[
            text("host", "Name", "As in `www.shop.example.com`"),
            field("record", "Records", "", Kind::One(&["A", "AAAA", "CNAME", "MX", "NS", "TXT"])),
            text("server", "Server", "Its address, as in `1.1.1.1`; empty means this machine's"),
        ],
        more: &[],
        asserts: true,
        example: "answers contains \"herokudns.com\"",
    },
];

pub(super) const NAME: Field =
    text("name", "Name", "a-z, 0-9, - _ and .; it stands in every message, as in `shop-home`");
pub(super) const APP: Field = text("app", "App", "The Heroku app it is about, if any: its alerts are then that app's");
pub(super) const ASSERT: Field = field("assert", "What must hold", "", Kind::Lines);

/// How often, for what is run.
pub(super) const PACE: [Field; 2] = [
    text("every", "Every", "As in `60s`, `5m`; empty means a minute"),
    text("timeout", "At most", "For one run, up to `30s`; empty means `10s`"),
];

/// What it takes to change the state.
pub(super) const THRESHOLDS: [Field; 4] = [
    field("failures", "Down after failed runs", "In a row; empty means 2", Kind::Number),
    text("failing_for", "Or failing for", "As in `5m`"),
    field("recoveries", "Up after good runs", "In a row; empty means 2", Kind::Number),
    text("recovering_for", "And good for", "As in `2m`"),
];

/// More of that.
pub(super) const FLAPPING: [Field; 3] = [
    field("flapping.transitions", "Changes", "That many …; empty means 6", Kind::Number),
    text("flapping.window", "Within", "… in this time are flapping; empty means `10m`"),
    text("flapping.quiet", "Until quiet for", "Then it is told again; empty means `10m`"),
];

pub(super) const SUSPECT: Field =
    text("every_when_suspect", "Every, while it is suspect", "As in `10s`: sooner to know whether it is down");

pub(super) const MESSAGES: [Field; 2] = [
    text("runbook", "Runbook", "A URL, or a path in your repository"),
    text("parent", "Not told while this fails", "The name of another check that explains this one's failure"),
];

/// The kind of that name.
pub(super) fn named(name: &str) -> Option<&'static KindForm> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl KindForm {
    /// Every field of its form.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static Field> {
        let runs = self.name != "heartbeat";
        let pace = if runs { &PACE[..] } else { &[] };
        let suspect = if runs { std::slice::from_ref(&SUSPECT) } else { &[] };
        let asserts = if self.asserts { std::slice::from_ref(&ASSERT) } else { &[] };
        let own = self.target.iter().chain(self.more);
        let shared =
            [std::slice::from_ref(&APP), asserts, pace, &THRESHOLDS[..], suspect, &FLAPPING[..], &MESSAGES[..]];
        own.chain(shared.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A key that stood in a form twice would be read once.
    #[test]
    fn no_key_stands_in_a_form_twice() {
        for kind in &KINDS {
            let mut seen = HashSet::new();
            for field in kind.fields() {
                assert!(seen.insert(field.key), "{} of {}", field.key, kind.name);
            }
        }
        assert!(named("web").is_some() && named("nonsense").is_none());
    }
}
