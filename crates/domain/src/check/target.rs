//! The URL of a target taken apart: host, port, user, password, database. Owns which URLs can be used and what is wrong with
//! one that cannot. No error quotes a URL: a password with an unescaped `/` or `@` moves into the host of a careless reader.

use std::fmt;

use url::{Host, Url};

use super::kind::{
    CheckKind, HerokuCheck, HerokuTarget, PostgresCheck, RedisCheck, Secret, Source, TcpCheck, TlsCheck, WebCheck,
};
use crate::parse::Invalid;

/// The longest URL.
pub const URL_BYTES_MAX: usize = 2_000;

/// What a URL must lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlKind {
    /// `http`, `https`.
    Web,
    /// `redis`, `rediss`.
    Redis,
    /// `postgres`, `postgresql`.
    Postgres,
}

impl UrlKind {
    const fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Web => &["https", "http"],
            Self::Redis => &["redis", "rediss"],
            Self::Postgres => &["postgres", "postgresql"],
        }
    }

    const fn port(self, scheme: &str) -> u16 {
        match self {
            Self::Web if matches!(scheme.as_bytes(), b"https") => 443,
            Self::Web => 80,
            Self::Redis => 6379,
            Self::Postgres => 5432,
        }
    }
}

/// A URL that can be used.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Without user, password, query and fragment: what may be shown.
    pub shown: String,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port, the scheme's own if none is written.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The user, decoded; empty if there is none.
    pub user: String,
    /// The password, decoded.
    pub password: Option<Secret>,
    /// The path without its first slash, decoded: a database's name or number.
    pub database: String,
    /// The path and query as they are sent, for the web.
    pub path_and_query: Secret,
    /// Every piece that must not be shown, decoded and as written.
    pub secrets: Vec<Secret>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Target {
    /// Reads a URL of that kind.
    ///
    /// # Errors
    /// When it cannot be used; the error says what would be right and never what stood there.
    pub fn parse(text: &Secret, kind: UrlKind) -> Result<Self, Invalid> {
        let text = text.expose().trim();
        if text.len() > URL_BYTES_MAX {
            return Err(Invalid(format!("the URL is longer than {URL_BYTES_MAX} bytes")));
        }
        let wanted =
            format!("write one such as {}://user:password@host:{}/", kind.schemes()[0], kind.port(kind.schemes()[0]));
        let url = Url::parse(text).map_err(|error| {
            Invalid(format!(
                "the URL cannot be read ({error}): {wanted}; in a user or password, @ is written %40, / is %2F and : is %3A"
            ))
        })?;
        if kind != UrlKind::Web && has_split_password(text) {
            return Err(Invalid(
                "the user or password in the URL must be escaped: write / as %2F, ? as %3F, # as %23 and @ as %40"
                    .to_owned(),
            ));
        }
        if !kind.schemes().contains(&url.scheme()) {
            return Err(Invalid(format!("the URL must begin with {}://", kind.schemes().join(":// or "))));
        }
        let host = match url.host() {
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            // Schemes that browsers do not know keep an address as a name.
            Some(Host::Domain(name)) if !name.is_empty() => {
                percent_decoded(name).unwrap_or_default().to_ascii_lowercase()
            }
            _ => return Err(Invalid(format!("the URL names no host: {wanted}"))),
        };
        let part = |text: &str, what: &str| {
            percent_decoded(text)
                .ok_or_else(|| Invalid(format!("the {what} in the URL is not UTF-8 once it is decoded")))
        };
        let user = part(url.username(), "user")?;
        let password = url.password().map(|password| part(password, "password")).transpose()?;
        let database = part(url.path().trim_start_matches('/'), "path")?;
        let mode = url.query_pairs().find(|(name, _)| name == "sslmode").map(|(_, value)| value.into_owned());
        let tls = match kind {
            UrlKind::Web => url.scheme() == "https",
            UrlKind::Redis => url.scheme() == "rediss",
            UrlKind::Postgres => match mode.as_deref() {
                Some("disable") => false,
                None | Some("prefer" | "require" | "verify-ca" | "verify-full") => true,
                Some(_) => {
                    return Err(Invalid(
                        "sslmode in the URL must be disable, require, verify-ca or verify-full".to_owned(),
                    ));
                }
            },
        };
        let mut path_and_query = if url.path().is_empty() { "/".to_owned() } else { url.path().to_owned() };
        if let Some(query) = url.query() {
            path_and_query.push('?');
            path_and_query.push_str(query);
        }
        let port = url.port().unwrap_or_else(|| kind.port(url.scheme()));
        if port == 0 {
            return Err(Invalid("the URL's port is 0, which nothing listens on".to_owned()));
        }
        Ok(Self {
            shown: shown(&url, kind, &host, port),
            secrets: secrets(&url, password.as_deref(), text),
            port,
            tls,
            user,
            password: password.map(Secret::new),
            database,
            path_and_query: Secret::new(path_and_query),
            host,
        })
    }
}

/// What a check looks at, in a few words for people: a URL without credentials and query, `shop REDIS_URL`, `host:port`.
#[must_use]
pub fn shown_target(kind: &CheckKind) -> String {
    let port =
        |host: &str, port: u16| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let url_kind = match kind {
        CheckKind::Redis(_) => UrlKind::Redis,
        CheckKind::Postgres(_) => UrlKind::Postgres,
        _ => UrlKind::Web,
    };
    match kind {
        CheckKind::Web(WebCheck { url, .. })
        | CheckKind::Redis(RedisCheck { url, .. })
        | CheckKind::Postgres(PostgresCheck { url, .. }) => match url {
            Source::Url(url) => Target::parse(url, url_kind).map_or_else(|_| "a URL".to_owned(), |target| target.shown),
            Source::ConfigVar { app, name } => format!("{app} {name}"),
        },
        CheckKind::Tcp(TcpCheck { host, port: number, .. }) | CheckKind::Tls(TlsCheck { host, port: number, .. }) => {
            port(host, *number)
        }
        CheckKind::Dns(dns) => format!("{} {}", dns.record.name(), dns.name),
        CheckKind::Heartbeat(heartbeat) => heartbeat.expected.to_string(),
        CheckKind::Heroku(HerokuCheck { app, target }) => match target {
            HerokuTarget::Dynos { process_type } => format!("{app} dynos {process_type}"),
            HerokuTarget::Release => format!("{app} release"),
            HerokuTarget::Maintenance => format!("{app} maintenance"),
        },
    }
}

/// Whether an `@` stands behind the end of the host: a password with an unescaped `/`, `?` or `#` was torn apart, and its
/// pieces would pass for a host and a database.
fn has_split_password(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.find(['/', '?', '#']).is_some_and(|end| rest.get(end..).is_some_and(|behind| behind.contains('@')))
        || rest.contains('#')
}

/// Scheme, host, port and path. A query may carry a token, and so may the path of a web address: it stays, since without
/// it nobody knows which page is meant, and known shapes of secrets in it are masked by whoever shows it.
fn shown(url: &Url, kind: UrlKind, host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = if url.port().is_none() && kind == UrlKind::Web { String::new() } else { format!(":{port}") };
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

fn secrets(url: &Url, password: Option<&str>, text: &str) -> Vec<Secret> {
    let written =
        text.split_once("://").and_then(|(_, rest)| rest.split_once('@')).and_then(|(info, _)| info.split_once(':'));
    let query = url.query().into_iter().flat_map(|query| query.split('&'));
    let values = query.filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
    let mut all: Vec<&str> =
        [password, url.password(), written.map(|(_, password)| password)].into_iter().flatten().collect();
    all.extend(values.filter(|value| value.len() >= 12));
    all.sort_unstable();
    all.dedup();
    all.into_iter().filter(|secret| !secret.is_empty()).map(Secret::new).collect()
}

/// `None` if the bytes are not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = (bytes.get(at + 1).copied().and_then(hex), bytes.get(at + 2).copied().and_then(hex));
        if let (b'%', (Some(high), Some(low))) = (byte, digits) {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str, kind: UrlKind) -> Result<Target, Invalid> {
        Target::parse(&Secret::new(text), kind)
    }

    #[test]
    fn urls_are_taken_apart() {
        for (text, kind, host, port, tls, user, password, database) in [
            ("https://shop.example/a?b=c", UrlKind::Web, "shop.example", 443, true, "", None, "a"),
            ("http://u:p%40@[2001:DB8::1]:8080", UrlKind::Web, "2001:db8::1", 8080, false, "u", Some("p@"), ""),
            ("redis://:sec%2Fret@Host:7000/3", UrlKind::Redis, "host", 7000, false, "", Some("sec/ret"), "3"),
            ("rediss://acl:x@10.0.0.1", UrlKind::Redis, "10.0.0.1", 6379, true, "acl", Some("x"), ""),
            ("postgres://u:p%40ss%2Fw%3Ard@db/app", UrlKind::Postgres, "db", 5432, true, "u", Some("p@ss/w:rd"), "app"),
            ("postgresql://u@db:6432/app?sslmode=disable", UrlKind::Postgres, "db", 6432, false, "u", None, "app"),
        ] {
            let target = target(text, kind).unwrap();
            assert_eq!((target.host.as_str(), target.port, target.tls), (host, port, tls), "{text}");
            assert_eq!((target.user.as_str(), target.database.as_str()), (user, database), "{text}");
            assert_eq!(target.password.as_ref().map(Secret::expose), password, "{text}");
        }
        let web = target("https://u:p@shop.example/a%20b?token=c#d", UrlKind::Web).unwrap();
        assert_eq!(web.shown, "https://shop.example/a%20b");
        assert_eq!(web.path_and_query.expose(), "/a%20b?token=c");
        assert_eq!(format!("{web:?} {:?}", web.path_and_query), "https://shop.example/a%20b [masked]");
    }

    #[test]
    fn errors_say_what_would_be_right_and_never_what_stood_there() {
        for (text, kind, want) in [
            ("postgres://u:p@ss/w:rd-hidden@db/app", UrlKind::Postgres, "must be escaped"),
            ("redis://u:12#hidden@h/0", UrlKind::Redis, "must be escaped"),
            ("redis://u:12?hidden@h/0", UrlKind::Redis, "must be escaped"),
            ("postgres://u:hidden/x@db/app", UrlKind::Postgres, "the URL cannot be read"),
            ("https://hidden.example", UrlKind::Redis, "must begin with redis:// or rediss://"),
            ("hidden", UrlKind::Web, "the URL cannot be read"),
            ("redis:///0?hidden", UrlKind::Redis, "names no host"),
            ("http://hidden:0/", UrlKind::Web, "port is 0"),
            ("postgres://u:hidden@db/?sslmode=allow", UrlKind::Postgres, "sslmode"),
        ] {
            match target(text, kind) {
                Err(invalid) => {
                    assert!(invalid.0.contains(want), "{text}: {invalid}");
                    assert!(!invalid.0.contains("hidden"), "{text}: {invalid}");
                }
                Ok(target) => panic!("{text} reads: {target:?}"),
            }
        }
    }

    #[test]
    fn secrets_are_known_in_every_spelling() {
        let target = target("postgres://u:p%40ss%2Fw%3Ard@db/app?token=abcdefabcdef", UrlKind::Postgres).unwrap();
        let known: Vec<&str> = target.secrets.iter().map(Secret::expose).collect();
        assert!(known.contains(&"p@ss/w:rd") && known.contains(&"p%40ss%2Fw%3Ard"), "{known:?}");
        assert!(known.contains(&"abcdefabcdef"), "{known:?}");
    }
}
