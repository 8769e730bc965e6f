//! URLs of the configuration: which are good, and how the store's is shown without its password. Owns no request.

use std::fmt;
use std::ops::Deref;
use std::path::Path;

use super::reader::shortened;

/// Whether the text is an absolute URL of HTTP with a host.
pub(super) fn is_http(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else {
        return false;
    };
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
}

/// What is wrong with a URL that stands in the file. One with a user or a password is a secret and is not shown.
pub(super) fn http_problem(text: &str) -> Option<String> {
    if text.contains('@') {
        return Some(
            "a URL in the file may not hold a user, a password or an @ (it is not shown): put it into an environment variable and name that with `url_env`".to_owned(),
        );
    }
    (!is_http(text))
        .then(|| format!("{:?} is not a URL: write one such as \"https://example.com/hook\"", shortened(text)))
}

/// A base URL, to which paths are appended: without query, fragment or trailing `/`.
pub(super) fn base(text: &str) -> Result<String, String> {
    let wrong =
        |text: &str| format!("{:?} is not a base URL: write one such as \"https://example.com\"", shortened(text));
    if text.contains('@') {
        return Err(
            "a base URL has no user, password or @ in it (it is not shown): write one such as \"https://example.com\""
                .to_owned(),
        );
    }
    if !is_http(text) || text.contains(['?', '#']) {
        return Err(wrong(text));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The passwords in a URL, as they are written and with their percent signs read.
pub(super) fn passwords(url: &str) -> Vec<String> {
    let Some((_, rest)) = url.split_once("://") else { return Vec::new() };
    // Up to the last @: a password may hold an @ or a /, although it should not.
    let user_info = rest.rsplit_once('@').map(|(info, _)| info);
    // A password that is the user's name is no secret, and masking it would mask the word `postgres` everywhere.
    let in_front = user_info.and_then(|info| info.split_once(':')).filter(|(user, password)| user != password);
    let in_front = in_front.map(|(_, password)| password);
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let behind = query.split('&').filter_map(|pair| pair.strip_prefix("password="));
    let mut passwords = Vec::new();
    for written in in_front.into_iter().chain(behind) {
        let meant = unescaped(written);
        passwords.extend(Some(meant).filter(|meant| meant != written));
        passwords.push(written.to_owned());
    }
    passwords
}

/// A text with its percent signs read, as far as they can be.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the store is. Prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes `postgres://…`, `postgresql://…`, `sqlite://…` and `sqlite:…`.
    ///
    /// # Errors
    /// For any other text; the error never repeats it, since it may hold a password.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let postgres = matches!(scheme, "postgres" | "postgresql") && rest.len() > 2 && rest.starts_with("//");
        let sqlite = scheme == "sqlite" && !rest.trim_start_matches('/').is_empty();
        if !(postgres || sqlite) || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err("this is not a store (it is not shown, since it may hold a password): write postgres://USER:PASSWORD@HOST/NAME or sqlite://FILE".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the store is Postgres, which several processes and the restart of a dyno can share.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.0.starts_with("postgres")
    }

    /// Whether the URL holds a password.
    pub(super) fn has_password(&self) -> bool {
        self.is_postgres() && (self.user_info().is_some_and(|info| info.contains(':')) || self.0.contains("password="))
    }

    /// The whole URL, for the one who connects.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn user_info(&self) -> Option<&str> {
        let rest = self.0.split_once("//")?.1;
        // Up to the last @: a password may hold an @ or a /, although it should not.
        rest.rsplit_once('@').map(|(info, _)| info)
    }
}

impl Deref for DatabaseUrl {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl DatabaseUrl {
    /// The file of a SQLite store.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&Path> {
        let path = self.0.strip_prefix("sqlite://").or_else(|| self.0.strip_prefix("sqlite:"))?;
        Some(Path::new(path.split('?').next().unwrap_or(path)))
    }
}

/// `postgres://…@host/name`: user, password and parameters left out.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_postgres() {
            return f.write_str(&self.0);
        }
        let shown = match self.user_info() {
            Some(_) => self.0.rsplit_once('@').map_or("", |(_, rest)| rest),
            None => self.0.split_once("//").map_or("", |(_, rest)| rest),
        };
        let shown = shown.split('?').next().unwrap_or_default();
        let hidden = if self.user_info().is_some() { "…@" } else { "" };
        write!(f, "postgres://{hidden}{shown}")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_shown_without_its_password() {
        let cases = [
            ("postgres://u:p@h:5432/db?sslmode=require", "postgres://…@h:5432/db", true),
            ("postgresql://u:p@/x@h/db", "postgres://…@h/db", true),
            ("postgres://h/db?user=u&password=p", "postgres://h/db", true),
            ("postgres://u@h/db", "postgres://…@h/db", false),
            ("sqlite://dynowatch.db", "sqlite://dynowatch.db", false),
            ("sqlite:///var/lib/x.db?mode=rwc", "sqlite:///var/lib/x.db?mode=rwc", false),
        ];
        for (text, shown, password) in cases {
            let url = DatabaseUrl::new(text).unwrap();
            assert_eq!(
                (format!("{url} {url:?}"), url.has_password()),
                (format!("{shown} {shown}"), password),
                "{text}"
            );
        }
        for text in ["mysql://h/db", "postgres:", "postgres://", "sqlite://", "", "h/db", "sqlite:// x"] {
            let problem = DatabaseUrl::new(text).unwrap_err();
            assert!(
                text.is_empty() || !problem.contains(text) || "postgres://USER sqlite://FILE".contains(text),
                "{problem}"
            );
        }
    }

    #[test]
    fn passwords_in_urls() {
        let cases: [(&str, &[&str]); 7] = [
            ("postgres://u:p%40ss%2@h:5432/db?sslmode=require", &["p@ss%2", "p%40ss%2"]),
            ("postgres://u:p@/x@h/db", &["p@/x"]),
            ("postgres://h/db?user=u&password=secret", &["secret"]),
            ("redis://:key@h:6379", &["key"]),
            ("sqlite://dynowatch.db", &[]),
            ("no url", &[]),
            ("postgres://postgres:postgres@localhost/postgres", &[]),
        ];
        for (url, want) in cases {
            assert_eq!(passwords(url), want, "{url}");
        }
    }

    #[test]
    fn bases() {
        assert_eq!(base("https://a.example/x/"), Ok("https://a.example/x".to_owned()));
        for text in
            ["a.example", "ftp://a.example", "https://", "https://u:p@a.example", "https://a.example/?x", "https://a b"]
        {
            assert!(base(text).is_err(), "{text}");
        }
    }
}
