//! What each kind of check looks at. Owns the fields, their limits and defaults; how they are written in a file is the
//! configuration's business, what the values mean on the wire `probe`'s.

use std::fmt;
use std::str::FromStr;

use super::heartbeat::Heartbeat;
use crate::parse::Invalid;

/// How much of a body is read, unless the check says otherwise.
pub const BODY_BYTES_DEFAULT: u64 = 256 << 10;
/// The most that a check may read.
pub const BODY_BYTES_MAX: u64 = 4 << 20;
/// The most redirects that a check may follow.
pub const REDIRECTS_MAX: u8 = 10;
/// The most headers of a request, and the longest name or value.
pub const HEADERS_MAX: usize = 30;
/// See [`HEADERS_MAX`].
pub const HEADER_BYTES_MAX: usize = 4_000;
/// The longest body of a request, query of a database, or key.
pub const TEXT_BYTES_MAX: usize = 10_000;

/// The longest CA in PEM: a handful of certificates.
pub const CA_BYTES_MAX: usize = 64 << 10;

/// A text that is never printed: a URL with a password, a header with a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text to itself.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who must use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::mask::MASKED)
    }
}

/// Where the target's URL stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the check itself.
    Url(Secret),
    /// In a config var of a Heroku app, read before a run, so that a rotation of credentials is followed.
    ConfigVar {
        /// The app's name.
        app: String,
        /// The variable's name, such as `REDIS_URL`.
        name: String,
    },
}

/// How the server's certificate is judged. There is no way to switch that off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsMode {
    /// By the public roots of the machine, and the name.
    Verify,
    /// By these certificates in PEM alone, and the name.
    Ca(String),
    /// By its key: the first one seen is expected from then on. For the self-signed certificates of Heroku's data services,
    /// which chain to no root and bear no fitting name.
    Pin,
}

impl TlsMode {
    /// `verify`, `ca` or `pin`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Ca(_) => "ca",
            Self::Pin => "pin",
        }
    }
}

/// Which address of a host is dialled. Always one: if IPv6 is broken, IPv4 does not hide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// The first that the resolver gives.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl FromStr for Family {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "any" => Ok(Self::Any),
            "ipv4" => Ok(Self::Ipv4),
            "ipv6" => Ok(Self::Ipv6),
            _ => Err(Invalid(format!("{text:?} is not an address family: write any, ipv4 or ipv6"))),
        }
    }
}

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/2 where TLS agrees on it, else HTTP/1.1.
    #[default]
    Any,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; without TLS by prior knowledge.
    Http2,
}

impl FromStr for HttpVersion {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "any" => Ok(Self::Any),
            "1.1" => Ok(Self::Http1),
            "2" => Ok(Self::Http2),
            _ => Err(Invalid(format!("{text:?} is not a version of HTTP: write any, 1.1 or 2"))),
        }
    }
}

/// What is done with a redirect. Credentials, headers and body of the check never go to another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirects {
    /// A redirect is a failure: a 302 to a login page is not up.
    #[default]
    Refuse,
    /// At most so many are followed, to any host.
    Follow(u8),
    /// At most so many are followed, on the same scheme, host and port.
    SameHost(u8),
    /// The answer must be this redirect, which is not followed.
    Expect(u16),
}

impl FromStr for Redirects {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid(format!(
                "{text:?} says nothing of redirects: write \"refuse\", \"follow 5\", \"same host 5\" or \"expect 301\""
            ))
        };
        let count = |text: &str| match text.trim().parse::<u8>() {
            Ok(count @ 1..=REDIRECTS_MAX) => Ok(count),
            Ok(_) => Err(Invalid(format!("{text:?}: a check follows 1 to {REDIRECTS_MAX} redirects"))),
            Err(_) => Err(wrong()),
        };
        let text = text.trim();
        if text == "refuse" {
            Ok(Self::Refuse)
        } else if let Some(rest) = text.strip_prefix("follow ") {
            count(rest).map(Self::Follow)
        } else if let Some(rest) = text.strip_prefix("same host ") {
            count(rest).map(Self::SameHost)
        } else if let Some(rest) = text.strip_prefix("expect ") {
            match rest.trim().parse() {
                Ok(status @ (301 | 302 | 303 | 307 | 308)) => Ok(Self::Expect(status)),
                Ok(_) => Err(Invalid(format!("{text:?}: a redirect is 301, 302, 303, 307 or 308"))),
                Err(_) => Err(wrong()),
            }
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Redirects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::Follow(count) => write!(f, "follow {count}"),
            Self::SameHost(count) => write!(f, "same host {count}"),
            Self::Expect(status) => write!(f, "expect {status}"),
        }
    }
}

/// A web page or an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebCheck {
    /// `http` or `https`; a user and password in it are sent as Basic authentication.
    pub url: Source,
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`.
    pub method: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Secret)>,
    /// What is sent.
    pub body: Option<Secret>,
    /// What is done with redirects.
    pub redirects: Redirects,
    /// Which HTTP is spoken.
    pub version: HttpVersion,
    /// Which address is dialled.
    pub family: Family,
    /// How the certificate is judged.
    pub tls: TlsMode,
    /// More than this of a body is not read: the run is then down, `reply_too_large`.
    pub body_bytes_max: u64,
}

impl WebCheck {
    /// A `GET` with every default.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: Source::Url(Secret::new(url)),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: None,
            redirects: Redirects::default(),
            version: HttpVersion::default(),
            family: Family::default(),
            tls: TlsMode::Verify,
            body_bytes_max: BODY_BYTES_DEFAULT,
        }
    }
}

/// Redis or Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisCheck {
    /// `redis` or `rediss`, with user, password and number of the database.
    pub url: Source,
    /// The key whose length is measured, by its type.
    pub key: Option<String>,
    /// Which address is dialled.
    pub family: Family,
    /// How the certificate is judged.
    pub tls: TlsMode,
}

/// Which side of a replication a Postgres URL is meant to lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostgresRole {
    /// A server that takes writes; one that does not is `read_only`.
    #[default]
    Leader,
    /// A follower, which takes none.
    Follower,
    /// Either.
    Any,
}

impl FromStr for PostgresRole {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "leader" => Ok(Self::Leader),
            "follower" => Ok(Self::Follower),
            "any" => Ok(Self::Any),
            _ => Err(Invalid(format!("{text:?} is not a role: write leader, follower or any"))),
        }
    }
}

/// A Postgres database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresCheck {
    /// `postgres` or `postgresql`. TLS is required unless it says `sslmode=disable`.
    pub url: Source,
    /// A table that must be there, as one would write it in SQL: `public.orders`.
    pub table: Option<String>,
    /// One statement that only reads. Assertions speak of its result.
    pub query: Option<String>,
    /// What the server is meant to be.
    pub role: PostgresRole,
    /// Which address is dialled.
    pub family: Family,
    /// How the certificate is judged.
    pub tls: TlsMode,
}

/// A port that must take connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpCheck {
    /// A host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Which address is dialled.
    pub family: Family,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsCheck {
    /// A host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Which address is dialled.
    pub family: Family,
    /// How the certificate is judged.
    pub tls: TlsMode,
}

/// A type of DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Another name.
    Cname,
    /// Mail servers.
    Mx,
    /// Name servers.
    Ns,
    /// Texts.
    Txt,
}

impl RecordType {
    /// All of them, with their numbers in messages (RFC 1035, RFC 3596).
    pub const ALL: [(Self, &'static str, u16); 6] = [
        (Self::A, "A", 1),
        (Self::Aaaa, "AAAA", 28),
        (Self::Cname, "CNAME", 5),
        (Self::Mx, "MX", 15),
        (Self::Ns, "NS", 2),
        (Self::Txt, "TXT", 16),
    ];

    /// As in zone files.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// Its number in messages.
    #[must_use]
    pub fn number(self) -> u16 {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or(0, |(.., number)| *number)
    }
}

impl FromStr for RecordType {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(text));
        found
            .map(|(kind, ..)| *kind)
            .ok_or_else(|| Invalid(format!("{text:?} is not a type of record: write A, AAAA, CNAME, MX, NS or TXT")))
    }
}

/// Records of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCheck {
    /// The name.
    pub name: String,
    /// The wanted type.
    pub record: RecordType,
    /// The address of the server to ask, with or without a port; the machine's own if there is none.
    pub server: Option<String>,
}

/// What Heroku says of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HerokuTarget {
    /// The dynos of a process type are as many as its formation says, and none has crashed.
    Dynos {
        /// Such as `web`.
        process_type: String,
    },
    /// The latest release succeeded.
    Release,
    /// Maintenance mode is off.
    Maintenance,
}

/// A check that asks Heroku's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HerokuCheck {
    /// The app's name.
    pub app: String,
    /// What is looked at.
    pub target: HerokuTarget,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A web page or an API.
    Web(WebCheck),
    /// Redis or Valkey.
    Redis(RedisCheck),
    /// A Postgres database.
    Postgres(PostgresCheck),
    /// A port.
    Tcp(TcpCheck),
    /// A certificate.
    Tls(TlsCheck),
    /// Records of a name.
    Dns(DnsCheck),
    /// Pings that must come in.
    Heartbeat(Heartbeat),
    /// What Heroku's API says.
    Heroku(HerokuCheck),
}

/// What a run costs the one who makes it: each class has its own limit of runs at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CostClass {
    /// A connection and a few bytes.
    Web,
    /// A session at a data service, which has few.
    Data,
    /// No socket of ours: heartbeats, Heroku's API.
    Native,
}

impl CheckKind {
    /// `web`, `redis`, …: as in tables, URLs and files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Web(_) => "web",
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Dns(_) => "dns",
            Self::Heartbeat(_) => "heartbeat",
            Self::Heroku(_) => "heroku",
        }
    }

    /// What a run costs.
    #[must_use]
    pub const fn cost_class(&self) -> CostClass {
        match self {
            Self::Web(_) | Self::Tcp(_) | Self::Tls(_) | Self::Dns(_) => CostClass::Web,
            Self::Redis(_) | Self::Postgres(_) => CostClass::Data,
            Self::Heartbeat(_) | Self::Heroku(_) => CostClass::Native,
        }
    }

    /// Where the target's URL stands, for the kinds that have one.
    #[must_use]
    pub const fn source(&self) -> Option<&Source> {
        match self {
            Self::Web(WebCheck { url, .. })
            | Self::Redis(RedisCheck { url, .. })
            | Self::Postgres(PostgresCheck { url, .. }) => Some(url),
            _ => None,
        }
    }

    /// How the certificate is judged, for the kinds that meet one.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsMode> {
        match self {
            Self::Web(WebCheck { tls, .. })
            | Self::Redis(RedisCheck { tls, .. })
            | Self::Postgres(PostgresCheck { tls, .. })
            | Self::Tls(TlsCheck { tls, .. }) => Some(tls),
            _ => None,
        }
    }
}
