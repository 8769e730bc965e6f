//! What a check looks at, as it is written: the keys that belong to one kind or a few. Owns which keys those are, where a
//! target's URL may stand, and that no secret stands in the file: `url_env`, `headers_env` and `body_env` name variables.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dynowatch_domain::check::cron::Cron;
use dynowatch_domain::check::heartbeat::{Expected, GRACE_MIN, Heartbeat, LONGEST};
use dynowatch_domain::check::kind::{
    BODY_BYTES_MAX, DnsCheck, Family, HerokuCheck, HerokuTarget, HttpVersion, PostgresCheck, PostgresRole, RecordType,
    Redirects, RedisCheck, TcpCheck, TlsCheck, TlsMode, WebCheck,
};
use dynowatch_domain::check::target::{Target, UrlKind};
use dynowatch_domain::check::{CheckKind, Secret, Source};
use dynowatch_domain::{mask::mask, zone};

use super::checks::within;
use super::names::is_variable_name;
use super::reader::{Node, Table, shortened};
use super::receivers::variable_name;
use super::variables::Variables;

/// The kinds by their names.
const KINDS: [(&str, Kind); 8] = [
    ("web", Kind::Web),
    ("redis", Kind::Redis),
    ("postgres", Kind::Postgres),
    ("tcp", Kind::Tcp),
    ("tls", Kind::Tls),
    ("dns", Kind::Dns),
    ("heartbeat", Kind::Heartbeat),
    ("heroku", Kind::Heroku),
];
const URL: [&str; 3] = ["url", "url_env", "config_var"];
/// How late a job may be that says nothing of it.
const GRACE_DEFAULT: Duration = Duration::from_secs(300);
const TLS_PORT: u16 = 443;
/// Headers that carry credentials: their values do not stand in the file.
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Web,
    Redis,
    Postgres,
    Tcp,
    Tls,
    Dns,
    Heartbeat,
    Heroku,
}

impl Kind {
    fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The keys of this kind, besides those of every check.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Web => &[
                "url",
                "url_env",
                "config_var",
                "method",
                "headers",
                "headers_env",
                "body",
                "body_env",
                "redirects",
                "http_version",
                "body_bytes_max",
                "ip_family",
                "tls",
                "ca",
                "certificate_warnings",
            ],
            Self::Redis => &["url", "url_env", "config_var", "key", "ip_family", "tls", "ca", "certificate_warnings"],
            Self::Postgres => &[
                "url",
                "url_env",
                "config_var",
                "table",
                "query",
                "role",
                "ip_family",
                "tls",
                "ca",
                "certificate_warnings",
            ],
            Self::Tcp => &["host", "port", "ip_family"],
            Self::Tls => &["host", "port", "ip_family", "tls", "ca", "certificate_warnings"],
            Self::Dns => &["host", "record", "server"],
            Self::Heartbeat => &["cron", "time_zone", "grace", "run_max"],
            Self::Heroku => &["target", "process_type"],
        }
    }
}

/// The keys that belong to some kind, each once.
pub(super) fn keys_of_kinds() -> Vec<&'static str> {
    let mut keys = Vec::new();
    for key in KINDS.iter().flat_map(|(_, kind)| kind.keys()) {
        if !keys.contains(key) {
            keys.push(*key);
        }
    }
    keys
}

/// What a kind is read with, and what is found out on the way.
pub(super) struct Surroundings<'a> {
    pub(super) variables: &'a Variables<'a>,
    /// A variable that the check needs and that is not set, where that is no error.
    pub(super) unset: Option<String>,
}

/// Reads what a check looks at. `app` is the check's.
pub(super) fn read(table: &Table<'_>, app: Option<&str>, surroundings: &mut Surroundings<'_>) -> Option<CheckKind> {
    let Some(node) = table.get("kind") else {
        let names = KINDS.map(|(name, _)| name).join(", ");
        return table.fail("kind", format!("missing: write what is looked at, one of {names}, as in kind = \"web\""));
    };
    let kind = node.one_of("a kind of check", &KINDS)?;
    refuse_foreign(table, kind);
    match kind {
        Kind::Web => read_web(table, app, surroundings).map(CheckKind::Web),
        Kind::Redis => {
            let url = read_source(table, app, UrlKind::Redis, surroundings);
            let tls = read_tls(table);
            let key = text(table, "key", "the name of a list, set, stream or hash");
            Some(CheckKind::Redis(RedisCheck { url: url?, key, family: family(table), tls: tls? }))
        }
        Kind::Postgres => {
            let url = read_source(table, app, UrlKind::Postgres, surroundings);
            let tls = read_tls(table);
            let role = table.get("role").and_then(|node| node.parsed("leader, follower or any"));
            Some(CheckKind::Postgres(PostgresCheck {
                url: url?,
                table: text(table, "table", "a table such as \"public.orders\""),
                query: text(table, "query", "a statement that only reads"),
                role: role.unwrap_or(PostgresRole::Leader),
                family: family(table),
                tls: tls?,
            }))
        }
        Kind::Tcp => {
            let (host, port) = (read_host(table), read_port(table, None));
            Some(CheckKind::Tcp(TcpCheck { host: host?, port: port?, family: family(table) }))
        }
        Kind::Tls => {
            let (host, port, tls) = (read_host(table), read_port(table, Some(TLS_PORT)), read_tls(table));
            Some(CheckKind::Tls(TlsCheck { host: host?, port: port?, family: family(table), tls: tls? }))
        }
        Kind::Dns => read_dns(table).map(CheckKind::Dns),
        Kind::Heartbeat => read_heartbeat(table).map(CheckKind::Heartbeat),
        Kind::Heroku => read_heroku(table, app).map(CheckKind::Heroku),
    }
}

/// Keys that belong to another kind: what somebody wrote there would not be looked at.
fn refuse_foreign(table: &Table<'_>, kind: Kind) {
    for (key, node) in table.entries() {
        let owners: Vec<&str> =
            KINDS.iter().filter(|(_, other)| other.keys().contains(&key)).map(|(name, _)| *name).collect();
        if !owners.is_empty() && !kind.keys().contains(&key) {
            let owners = owners.join(", ");
            node.fail::<()>(format!(
                "belongs to checks of kind {owners}, and this is one of {}: leave it out",
                kind.name()
            ));
        }
        if kind == Kind::Heartbeat && ["timeout", "every_when_suspect"].contains(&key) {
            node.fail::<()>("a heartbeat is heard, not run: leave it out");
        }
    }
}

fn text(table: &Table<'_>, key: &str, wanted: &str) -> Option<String> {
    table.get(key).and_then(|node| node.text(wanted)).map(str::to_owned)
}

fn family(table: &Table<'_>) -> Family {
    table.get("ip_family").and_then(|node| node.parsed("any, ipv4 or ipv6")).unwrap_or_default()
}

/// Where the target's URL stands: in exactly one of three places.
fn read_source(
    table: &Table<'_>,
    app: Option<&str>,
    kind: UrlKind,
    surroundings: &mut Surroundings<'_>,
) -> Option<Source> {
    let written: Vec<(&str, Node<'_>)> = URL.into_iter().filter_map(|key| Some((key, table.get(key)?))).collect();
    match written.as_slice() {
        [] => table.fail(
            "url",
            "missing: write the target's url, or url_env = \"VARIABLE\" for one with a password, or app and config_var = \"REDIS_URL\" to read it from the app's config",
        ),
        [("url", node)] => read_url(node, kind),
        [("url_env", node)] => read_url_by_name(node, kind, surroundings),
        [(_, node)] => read_config_var(table, node, app),
        [(first, _), (_, second), ..] => second.fail(format!("`{first}` stands here already: a check has one target")),
    }
}

fn read_url(node: &Node<'_>, kind: UrlKind) -> Option<Source> {
    let url = Secret::new(node.text("a URL such as \"https://shop.example.com/health\"")?);
    let by_name = || {
        node.fail(
            "a password does not stand in the file (it is not shown): put the URL into an environment variable and name that with `url_env`, or have it read from a config var",
        )
    };
    match Target::parse(&url, kind) {
        Ok(target) if target.password.is_some() => by_name(),
        Ok(_) => Some(Source::Url(url)),
        Err(_) if url.expose().contains('@') => by_name(),
        Err(invalid) => node.invalid(&invalid),
    }
}

fn read_url_by_name(node: &Node<'_>, kind: UrlKind, surroundings: &mut Surroundings<'_>) -> Option<Source> {
    let name = variable_name(node)?;
    let Some(url) = surroundings.variables.secret_url(name) else {
        surroundings.variables.missing(name, &|problem| node.fail(problem), "the URL of the target")?;
        surroundings.unset = Some(name.to_owned());
        // It is never dialled: whoever runs the check asks what is unset first.
        let scheme = match kind {
            UrlKind::Web => "https",
            UrlKind::Redis => "redis",
            UrlKind::Postgres => "postgres",
        };
        return Some(Source::Url(Secret::new(format!("{scheme}://unset.invalid/"))));
    };
    let url = Secret::new(url);
    match Target::parse(&url, kind) {
        Ok(_) => Some(Source::Url(url)),
        Err(invalid) => node.fail(format!("the environment variable {name} cannot be used: {}", mask(&invalid.0))),
    }
}

fn read_config_var(table: &Table<'_>, node: &Node<'_>, app: Option<&str>) -> Option<Source> {
    let name = match node.text("the name of a config var, as in \"REDIS_URL\"")? {
        name if is_variable_name(name) => Some(name.to_owned()),
        _ => node.fail(
            "this is not the name of a config var (it is not shown, since it may be a secret): write one such as \"REDIS_URL\"",
        ),
    };
    if !table.has("app") {
        return table.fail("app", "missing: write whose config var that is, as in app = \"shop\"");
    }
    Some(Source::ConfigVar { app: app?.to_owned(), name: name? })
}

/// `verify` where nothing is written; Heroku's own data services, whose URL stands in a config var, cannot be verified and
/// are pinned.
fn read_tls(table: &Table<'_>) -> Option<TlsMode> {
    #[derive(Clone, Copy)]
    enum Mode {
        Verify,
        Ca,
        Pin,
    }
    const MODES: [(&str, Mode); 3] = [("verify", Mode::Verify), ("ca", Mode::Ca), ("pin", Mode::Pin)];
    let ca = match table.get("ca") {
        Some(node) => Some(node.text("certificates in PEM")?.to_owned()),
        None => None,
    };
    let mode = match table.get("tls") {
        Some(node) => Some((node.one_of("a way to judge a certificate", &MODES)?, node)),
        None => None,
    };
    match (mode, ca) {
        (Some((Mode::Ca, _)) | None, Some(pem)) => match dynowatch_probe::certificate::Roots::from_pem(&pem) {
            Ok(_) => Some(TlsMode::Ca(pem)),
            Err(problem) => table.get("ca")?.fail(mask(&problem)),
        },
        (Some((_, node)), Some(_)) => node.fail("`ca` is given: write tls = \"ca\", or leave one of them out"),
        (Some((Mode::Ca, _)), None) => table.fail(
            "ca",
            "missing: paste the certificates of the CA in PEM, as in ca = \"\"\"-----BEGIN CERTIFICATE-----…\"\"\"",
        ),
        (Some((Mode::Verify, _)), None) => Some(TlsMode::Verify),
        (Some((Mode::Pin, _)), None) => Some(TlsMode::Pin),
        (None, None) if table.has("config_var") && table.get("kind")?.text("")? != "web" => Some(TlsMode::Pin),
        (None, None) => Some(TlsMode::Verify),
    }
}

fn read_web(table: &Table<'_>, app: Option<&str>, surroundings: &mut Surroundings<'_>) -> Option<WebCheck> {
    let url = read_source(table, app, UrlKind::Web, surroundings);
    let tls = read_tls(table);
    let get = |key| table.get(key);
    let method = text(table, "method", "a method such as \"GET\"");
    let redirects = get("redirects").and_then(|node| node.parsed::<Redirects>("a text such as \"refuse\""));
    let version = get("http_version").and_then(|node| node.parsed::<HttpVersion>("any, 1.1 or 2"));
    let bytes = get("body_bytes_max").and_then(|node| node.number(1..=BODY_BYTES_MAX, "bytes"));
    let mut web = WebCheck::get("");
    web.headers = read_headers(table, surroundings);
    web.body = read_body(table, surroundings);
    web.url = url?;
    web.tls = tls?;
    web.method = method.unwrap_or(web.method);
    web.redirects = redirects.unwrap_or(web.redirects);
    web.version = version.unwrap_or(web.version);
    web.body_bytes_max = bytes.unwrap_or(web.body_bytes_max);
    web.family = family(table);
    Some(web)
}

fn read_headers(table: &Table<'_>, surroundings: &mut Surroundings<'_>) -> Vec<(String, Secret)> {
    let entries = |key: &str, wanted: &str| {
        table.get(key).and_then(|node| node.any_table(wanted)).map(|table| table.entries()).unwrap_or_default()
    };
    let mut headers: Vec<(String, Secret)> = Vec::new();
    let mut add = |name: &str, node: &Node<'_>, value: Secret| {
        let name = name.to_ascii_lowercase();
        if headers.iter().any(|(known, _)| *known == name) {
            node.fail::<()>("this header stands here twice");
        } else {
            headers.push((name, value));
        }
    };
    for (name, node) in entries("headers", "a table such as { accept = \"application/json\" }") {
        if SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            node.fail::<()>(
                "the value of this header is a secret and does not stand in the file: put it into an environment variable and name that under `headers_env`",
            );
        } else if let Some(value) = node.text("the header's value") {
            add(name, &node, Secret::new(value));
        }
    }
    for (name, node) in entries("headers_env", "a table such as { authorization = \"SHOP_AUTHORIZATION\" }") {
        if let Some(value) = read_secret(&node, surroundings, "the header's value") {
            add(name, &node, value);
        }
    }
    headers
}

fn read_body(table: &Table<'_>, surroundings: &mut Surroundings<'_>) -> Option<Secret> {
    match (table.get("body"), table.get("body_env")) {
        (Some(_), Some(by_name)) => by_name.fail("`body` stands here already: keep one of the two"),
        (Some(node), None) => node.text("what is sent").map(Secret::new),
        (None, Some(node)) => read_secret(&node, surroundings, "what is sent"),
        (None, None) => None,
    }
}

/// A secret that may hold blanks, as in `Bearer …`.
fn read_secret(node: &Node<'_>, surroundings: &mut Surroundings<'_>, what: &str) -> Option<Secret> {
    let name = variable_name(node)?;
    if let Some(value) = surroundings.variables.secret_words(name) {
        return Some(Secret::new(value));
    }
    surroundings.variables.missing(name, &|problem| node.fail(problem), what)?;
    surroundings.unset = Some(name.to_owned());
    Some(Secret::new(""))
}

fn read_host(table: &Table<'_>) -> Option<String> {
    match table.get("host") {
        Some(node) => node.text("a host's name or address").map(str::to_owned),
        None => table.fail("host", "missing: write a name or an address, as in host = \"db.example.com\""),
    }
}

fn read_port(table: &Table<'_>, default: Option<u16>) -> Option<u16> {
    match (table.get("port"), default) {
        (Some(node), _) => u16::try_from(node.integer(1..=65_535, "a port from 1 to 65535")?).ok(),
        (None, Some(port)) => Some(port),
        (None, None) => table.fail("port", "missing: write which port, as in port = 5432"),
    }
}

fn read_dns(table: &Table<'_>) -> Option<DnsCheck> {
    let name = read_host(table);
    let record = match table.get("record") {
        Some(node) => node.parsed::<RecordType>("a type of record such as \"A\""),
        None => Some(RecordType::A),
    };
    let server = match table.get("server") {
        Some(node) => Some(read_server(&node)?),
        None => None,
    };
    Some(DnsCheck { name: name?, record: record?, server })
}

fn read_server(node: &Node<'_>) -> Option<String> {
    let text = node.text("an address such as \"1.1.1.1\"")?;
    if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        return Some(text.to_owned());
    }
    node.fail(format!(
        "{:?} is not the address of a DNS server: write one such as \"1.1.1.1\" or \"[2606:4700::1111]:53\"",
        shortened(text)
    ))
}

fn read_heartbeat(table: &Table<'_>) -> Option<Heartbeat> {
    let lasting = |key| table.get(key).map(|node| within(&node, GRACE_MIN, LONGEST));
    let (grace, run_max) = (lasting("grace"), lasting("run_max"));
    let zone = table.get("time_zone").map(|node| read_zone(&node));
    let expected = match (table.get("every"), table.get("cron")) {
        (Some(_), Some(node)) => {
            node.fail("`every` stands here already: a job is expected every so often or when cron says")
        }
        (Some(node), None) => {
            if let Some(node) = table.get("time_zone") {
                node.fail::<()>("belongs to `cron`: leave it out");
            }
            within(&node, GRACE_MIN, LONGEST).map(Expected::Every)
        }
        (None, Some(node)) => match zone {
            Some(zone) => node
                .parsed::<Cron>("five fields, as in \"30 3 * * *\"")
                .zip(zone)
                .map(|(cron, zone)| Expected::Cron { cron, zone }),
            None => node
                .parsed::<Cron>("five fields, as in \"30 3 * * *\"")
                .map(|cron| Expected::Cron { cron, zone: "UTC".to_owned() }),
        },
        (None, None) => {
            table.fail("every", "missing: write when the job reports, as in every = \"1h\" or cron = \"30 3 * * *\"")
        }
    };
    Some(Heartbeat {
        expected: expected?,
        grace: grace.unwrap_or(Some(GRACE_DEFAULT))?,
        run_max: match run_max {
            Some(run_max) => Some(run_max?),
            None => None,
        },
    })
}

/// The name of a time zone.
pub(super) fn read_zone(node: &Node<'_>) -> Option<String> {
    match node.text("a time zone such as \"Europe/Berlin\"")? {
        name if zone::named(name).is_some() => Some(name.to_owned()),
        other => node.fail(format!(
            "{:?} is no time zone: write an IANA name such as \"Europe/Berlin\" or \"UTC\"",
            shortened(other)
        )),
    }
}

fn read_heroku(table: &Table<'_>, app: Option<&str>) -> Option<HerokuCheck> {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Wanted {
        Dynos,
        Release,
        Maintenance,
    }
    const TARGETS: [(&str, Wanted); 3] =
        [("dynos", Wanted::Dynos), ("release", Wanted::Release), ("maintenance", Wanted::Maintenance)];
    let target = match table.get("target") {
        Some(node) => node.one_of("something that Heroku says of an app", &TARGETS),
        None => table.fail(
            "target",
            "missing: write what is asked of Heroku: dynos, release or maintenance, as in target = \"dynos\"",
        ),
    };
    if !table.has("app") {
        table.fail::<()>("app", "missing: write which app Heroku is asked about, as in app = \"shop\"");
    }
    let process_type = table.get("process_type");
    if let Some(node) = process_type.as_ref().filter(|_| target.is_some_and(|target| target != Wanted::Dynos)) {
        node.fail::<()>("belongs to target = \"dynos\": leave it out");
    }
    let target = match target? {
        Wanted::Dynos => HerokuTarget::Dynos { process_type: read_process_type(process_type.as_ref())? },
        Wanted::Release => HerokuTarget::Release,
        Wanted::Maintenance => HerokuTarget::Maintenance,
    };
    Some(HerokuCheck { app: app?.to_owned(), target })
}

fn read_process_type(node: Option<&Node<'_>>) -> Option<String> {
    let Some(node) = node else { return Some("web".to_owned()) };
    match node.text("a process type such as \"web\"")? {
        name if !name.is_empty()
            && name.len() <= 100
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) =>
        {
            Some(name.to_owned())
        }
        other => node.fail(format!("{:?} is not a process type: write one such as \"web\"", shortened(other))),
    }
}
