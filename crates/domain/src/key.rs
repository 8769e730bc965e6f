//! Keys: what has one window, one alert and one cool-down of its own. A key is (rule, app, group); storms on one never
//! delay another. Owns the printed form, which is also the deduplication key and what `alerts resolve` takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::AppId;
use crate::rule::GroupBy;
use crate::signal::Signal;
use crate::threshold::process_type;

/// The longest value of a group; longer ones are cut.
pub const GROUP_VALUE_BYTES_MAX: usize = 120;
/// Where the groups beyond a rule's limit are counted together.
pub const OTHER_GROUP: &str = "other";

/// A rule's group for one signal, as text: empty for a rule that groups by app alone, else `dyno=web.1,status=503`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Group(pub String);

impl Group {
    /// The group that takes what is over the limit.
    #[must_use]
    pub fn other() -> Self {
        Self(OTHER_GROUP.to_owned())
    }

    /// The group of a signal under `group_by`. Values come from log lines: bytes that are not printable text become
    /// `?`, as do the separators `,` and `=`, so that no value can pass for two.
    #[must_use]
    pub fn of(group_by: &[GroupBy], signal: &Signal<'_>) -> Self {
        let mut text = String::new();
        for &by in group_by.iter().filter(|&&by| by != GroupBy::App) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(by.as_str());
            text.push('=');
            match by {
                GroupBy::App => {}
                GroupBy::ProcessType => clean(
                    &mut text,
                    Signal::process_type(if signal.dyno.is_empty() { signal.process } else { signal.dyno }),
                ),
                GroupBy::Dyno => clean(&mut text, signal.dyno),
                GroupBy::PathPrefix => clean(&mut text, first_segment(signal.path.unwrap_or(b""))),
                GroupBy::Code => text.push_str(&signal.code.map(|code| code.to_string()).unwrap_or_default()),
                GroupBy::Status => text.push_str(&signal.status.map(|status| status.to_string()).unwrap_or_default()),
                // Of series alone; rules about lines cannot ask for it.
                GroupBy::Source | GroupBy::Label => {}
            }
        }
        Self(text)
    }

    /// The group of a metric's series under `group_by`, made as [`Group::of`] makes it.
    #[must_use]
    pub fn of_series(group_by: &[GroupBy], source: &str, label: &str) -> Self {
        let mut text = String::new();
        for &by in group_by.iter().filter(|by| by.is_of_series() && **by != GroupBy::App) {
            let value = match by {
                GroupBy::ProcessType => process_type(source),
                GroupBy::Label => label,
                _ => source,
            };
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(by.as_str());
            text.push('=');
            clean(&mut text, value.as_bytes());
        }
        Self(text)
    }

    /// Name and value pairs, for people.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(',').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or(("group", part)))
    }
}

/// `/orders` of `/orders/7?x=1`.
fn first_segment(path: &[u8]) -> &[u8] {
    let end = path.iter().skip(1).position(|&b| b == b'/' || b == b'?').map_or(path.len(), |i| i + 1);
    path.get(..end).unwrap_or(path)
}

fn clean(out: &mut String, value: &[u8]) {
    let value = value.get(..GROUP_VALUE_BYTES_MAX).unwrap_or(value);
    out.extend(String::from_utf8_lossy(value).chars().map(|c| match c {
        ',' | '=' | char::REPLACEMENT_CHARACTER => '?',
        c if c.is_control() => '?',
        c => c,
    }));
}

/// What has one window, one alert and one cool-down of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The app. First, so that keys sort by the row that guards them.
    pub app: AppId,
    /// The rule's name.
    pub rule: String,
    /// The group within the rule.
    pub group: Group,
}

impl Key {
    /// As people and the API write it: `h12/shop-web`, `r14/shop-web/dyno=web.1`.
    #[must_use]
    pub fn show<'a>(&'a self, app_name: &'a str) -> impl fmt::Display + 'a {
        ShownKey { rule: &self.rule, app_name, group: &self.group }
    }
}

struct ShownKey<'a> {
    rule: &'a str,
    app_name: &'a str,
    group: &'a Group,
}

impl fmt::Display for ShownKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.rule, self.app_name)?;
        if self.group.0.is_empty() { Ok(()) } else { write!(f, "/{}", self.group.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::signal::{Kind, Source};

    fn request<'a>(dyno: &'a [u8], path: &'a [u8]) -> Signal<'a> {
        Signal {
            at: Timestamp::UNIX_EPOCH,
            source: Source::Heroku,
            kind: Kind::Router,
            process: b"router",
            dyno,
            code: None,
            status: Some(503),
            path: Some(path),
            text: b"",
        }
    }

    #[test]
    fn groups_of_series() {
        let cases: [(&[GroupBy], &str, &str, &str); 5] = [
            (&[], "web.1", "", ""),
            (&[GroupBy::ProcessType], "web.1", "", "process_type=web"),
            (&[GroupBy::Dyno], "web.1", "", "dyno=web.1"),
            (&[GroupBy::Source], "DATABASE", "", "source=DATABASE"),
            (&[GroupBy::Source, GroupBy::Label], "a,b=c", "503", "source=a?b?c,label=503"),
        ];
        for (by, source, label, want) in cases {
            assert_eq!(Group::of_series(by, source, label).0, want);
        }
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn groups() {
        let cases: [(&[GroupBy], &[u8], &[u8], &str); 6] = [
            (&[], b"web.1", b"/", ""),
            (&[GroupBy::App], b"web.1", b"/", ""),
            (&[GroupBy::Dyno, GroupBy::Status], b"web.1", b"/", "dyno=web.1,status=503"),
            (&[GroupBy::ProcessType], b"web.1", b"/", "process_type=web"),
            (&[GroupBy::PathPrefix], b"", b"/orders/7?x=1", "path_prefix=/orders"),
            (&[GroupBy::PathPrefix], b"", b"/a,dyno=web.9\xff\n", "path_prefix=/a?dyno?web.9??"),
        ];
        for (by, dyno, path, want) in cases {
            assert_eq!(Group::of(by, &request(dyno, path)).0, want);
        }
    }
}
