//! The form of the audit log: who did what to what, from where, in a chain in which each entry holds the hash of the one
//! before it, so that a change, a gap or a swap shows. The hash itself (SHA-256) is the caller's.

use serde::Serialize;

use crate::Timestamp;

/// A hash of the chain.
pub type Hash = [u8; 32];

/// Text fields are cut to this many bytes: what comes from outside must not fill the log.
pub const FIELD_BYTES_MAX: usize = 1_024;

/// Who did something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `user:ada`, `api:ci`, `cli:ada` (a person at the machine), `system`, or `nobody` for who did not prove who they are.
    pub name: String,
    /// The network address, where there is one.
    pub address: String,
}

impl Actor {
    /// Someone without a network address.
    #[must_use]
    pub fn here(name: impl Into<String>) -> Self {
        Self { name: name.into(), address: String::new() }
    }

    /// An entry about something this actor does.
    #[must_use]
    pub fn did(&self, action: &'static str, subject: impl AsRef<str>) -> Act {
        Act {
            actor: field(&self.name),
            address: field(&self.address),
            action,
            subject: field(subject.as_ref()),
            detail: String::new(),
        }
    }
}

/// Something that is to be written into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Who.
    pub actor: String,
    /// From where.
    pub address: String,
    /// What, as in `rule.disable`. Denials end in `.denied`, failures in `.failed`.
    pub action: &'static str,
    /// To what: the name of a rule, an app, a person.
    pub subject: String,
    /// More, in words; never a secret.
    pub detail: String,
}

impl Act {
    /// With more in words.
    #[must_use]
    pub fn with(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = field(detail.as_ref());
        self
    }
}

/// Without control characters (a line break must not look like an entry) and not too long.
fn field(text: &str) -> String {
    let mut out: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let mut end = FIELD_BYTES_MAX.min(out.len());
    while !out.is_char_boundary(end) {
        end -= 1;
    }
    out.truncate(end);
    out
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 1, without gaps.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who; see [`Actor::name`].
    pub actor: String,
    /// From where.
    pub address: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More, in words.
    pub detail: String,
    /// The hash of the entry before; zeros for the first.
    pub previous: Hash,
    /// The hash of [`Entry::canonical`].
    pub hash: Hash,
}

#[derive(Serialize)]
struct Canonical<'a> {
    seq: i64,
    at_us: i64,
    actor: &'a str,
    address: &'a str,
    action: &'a str,
    subject: &'a str,
    detail: &'a str,
    previous: String,
}

impl Entry {
    /// The text that is hashed: JSON without blanks, its keys in this fixed order, `previous` in lower-case hex.
    #[must_use]
    pub fn canonical(&self) -> String {
        let previous = self.previous.iter().map(|byte| format!("{byte:02x}")).collect();
        let form = Canonical {
            seq: self.seq,
            at_us: self.at.as_micros(),
            actor: &self.actor,
            address: &self.address,
            action: &self.action,
            subject: &self.subject,
            detail: &self.detail,
            previous,
        };
        // Numbers and text always serialise; an empty text would show in `verify`.
        serde_json::to_string(&form).unwrap_or_default()
    }

    /// The entry after `last` (none for the first) about `act`.
    #[must_use]
    pub fn after(last: Option<(i64, Hash)>, at: Timestamp, act: &Act, hash: impl Fn(&[u8]) -> Hash) -> Self {
        let (seq, previous) = last.unwrap_or((0, [0; 32]));
        let mut entry = Self {
            seq: seq.saturating_add(1),
            at,
            actor: act.actor.clone(),
            address: act.address.clone(),
            action: act.action.to_owned(),
            subject: act.subject.clone(),
            detail: act.detail.clone(),
            previous,
            hash: [0; 32],
        };
        entry.hash = hash(entry.canonical().as_bytes());
        entry
    }
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A place is empty or taken twice.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    Gap {
        /// The place that should follow.
        expected: i64,
        /// The one that does.
        found: i64,
    },
    /// The entry does not follow the one before it.
    #[error("entry {0} does not follow the one before it: an entry was changed, put in or taken out")]
    Link(i64),
    /// The entry is not what was written.
    #[error("entry {0} was changed after it was written")]
    Changed(i64),
}

/// Walks a chain, in pieces if need be.
#[derive(Debug, Default)]
pub struct Verifier {
    last: Option<(i64, Hash)>,
}

impl Verifier {
    /// Takes the next entry.
    ///
    /// # Errors
    /// Where and how the chain is broken.
    pub fn take(&mut self, entry: &Entry, hash: impl Fn(&[u8]) -> Hash) -> Result<(), Broken> {
        let (seq, previous) = self.last.unwrap_or((0, [0; 32]));
        let expected = seq.saturating_add(1);
        if entry.seq != expected {
            return Err(Broken::Gap { expected, found: entry.seq });
        }
        if entry.previous != previous {
            return Err(Broken::Link(entry.seq));
        }
        if hash(entry.canonical().as_bytes()) != entry.hash {
            return Err(Broken::Changed(entry.seq));
        }
        self.last = Some((entry.seq, entry.hash));
        Ok(())
    }

    /// The newest entry and its hash: note it elsewhere, and a log that was rewritten whole shows, too.
    #[must_use]
    pub fn head(&self) -> Option<(i64, Hash)> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a good hash, but one that every byte changes.
    fn hash(bytes: &[u8]) -> Hash {
        let mut out = [0u8; 32];
        for (i, byte) in bytes.iter().enumerate() {
            out[i % 32] = out[i % 32].rotate_left(3) ^ byte.wrapping_add(u8::try_from(i % 251).unwrap());
        }
        out
    }

    fn chain(n: usize) -> Vec<Entry> {
        let actor = Actor { name: "user:ada".into(), address: "203.0.113.9".into() };
        let mut entries: Vec<Entry> = Vec::new();
        for i in 0..n {
            let last = entries.last().map(|entry| (entry.seq, entry.hash));
            let act = actor.did("rule.disable", format!("h1{i}")).with("for 2h");
            entries.push(Entry::after(last, Timestamp::from_seconds(i64::try_from(i).unwrap()), &act, hash));
        }
        entries
    }

    fn check(entries: &[Entry]) -> Result<(), Broken> {
        let mut verifier = Verifier::default();
        entries.iter().try_for_each(|entry| verifier.take(entry, hash))
    }

    #[test]
    fn every_meddling_shows() {
        assert_eq!(check(&chain(5)), Ok(()));
        let with = |change: fn(&mut Vec<Entry>)| {
            let mut entries = chain(5);
            change(&mut entries);
            check(&entries)
        };
        assert_eq!(with(|e| e[2].actor = "user:eve".into()), Err(Broken::Changed(3)));
        assert_eq!(with(|e| e[2].at = Timestamp::from_seconds(77)), Err(Broken::Changed(3)));
        assert_eq!(with(|e| e[2].detail.clear()), Err(Broken::Changed(3)));
        assert_eq!(with(|e| drop(e.remove(2))), Err(Broken::Gap { expected: 3, found: 4 }));
        assert_eq!(with(|e| drop(e.remove(0))), Err(Broken::Gap { expected: 1, found: 2 }));
        assert_eq!(with(|e| e.swap(1, 2)), Err(Broken::Gap { expected: 2, found: 3 }));
        let rewritten = |e: &mut Vec<Entry>| {
            e[2].subject = "h99".into();
            e[2].hash = hash(e[2].canonical().as_bytes());
        };
        assert_eq!(with(rewritten), Err(Broken::Link(4)));
    }

    #[test]
    fn the_canonical_form() {
        let entry = chain(1).remove(0);
        assert_eq!(
            entry.canonical(),
            "{\"seq\":1,\"at_us\":0,\"actor\":\"user:ada\",\"address\":\"203.0.113.9\",\"action\":\"rule.disable\",\"subject\":\"h10\",\
             \"detail\":\"for 2h\",\"previous\":\"0000000000000000000000000000000000000000000000000000000000000000\"}"
        );
    }

    #[test]
    fn text_from_outside_stays_one_short_line() {
        let act = Actor::here("nobody").did("sign_in.failed", "a\nb\0").with("ü".repeat(2_000));
        assert_eq!(act.subject, "a\u{fffd}b\u{fffd}");
        assert!(act.detail.len() <= FIELD_BYTES_MAX && act.detail.chars().all(|c| c == 'ü'));
    }
}
