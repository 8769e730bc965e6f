//! The newest value of every metric a drain tells of. Owns the bound on how many series an app may have; what becomes of
//! values over time is the business of metrics, which read from here.

use std::hash::BuildHasher;

use dynowatch_domain::Timestamp;
use hashbrown::{DefaultHashBuilder, HashTable};

/// The most series of one app. Later ones are counted as refused, and shown.
pub const SERIES_MAX: usize = 2_000;

/// One series' newest value.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleValue {
    /// Who it is about: a dyno, a database, an add-on.
    pub source: Box<[u8]>,
    /// The metric's name as written.
    pub name: Box<[u8]>,
    /// The value in its base unit.
    pub value: f64,
    /// When it was so.
    pub at: Timestamp,
}

/// Newest values by (source, name).
#[derive(Default)]
pub(crate) struct SampleTable {
    table: HashTable<SampleValue>,
    hasher: DefaultHashBuilder,
    /// Values that found no room.
    pub(crate) refused: u64,
}

impl SampleTable {
    /// Remembers a value, unless a newer one is known. Allocates only for a series not seen before.
    #[inline]
    pub(crate) fn set(&mut self, source: &[u8], name: &[u8], value: f64, at: Timestamp) {
        let hash = self.hasher.hash_one((source, name));
        if let Some(known) = self.table.find_mut(hash, |known| *known.name == *name && *known.source == *source) {
            if at >= known.at {
                (known.value, known.at) = (value, at);
            }
        } else if self.table.len() >= SERIES_MAX || source.len() > 128 || name.len() > 128 {
            self.refused += 1;
        } else {
            let hasher = &self.hasher;
            let new = SampleValue { source: source.into(), name: name.into(), value, at };
            self.table.insert_unique(hash, new, |known| hasher.hash_one((&*known.source, &*known.name)));
        }
    }

    /// Every series, sorted by source and name.
    #[must_use]
    pub(crate) fn sorted(&self) -> Vec<SampleValue> {
        let mut all: Vec<SampleValue> = self.table.iter().cloned().collect();
        all.sort_by(|a, b| (&a.source, &a.name).cmp(&(&b.source, &b.name)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_its_bound() {
        let mut table = SampleTable::default();
        let t = Timestamp::from_seconds;
        table.set(b"web.1", b"memory_total", 5.0, t(10));
        table.set(b"web.1", b"memory_total", 4.0, t(9));
        table.set(b"web.1", b"memory_total", 6.0, t(11));
        assert_eq!((table.sorted().len(), table.sorted()[0].value), (1, 6.0));
        for i in 0..SERIES_MAX + 5 {
            table.set(b"x", i.to_string().as_bytes(), 1.0, t(1));
        }
        assert_eq!((table.sorted().len(), table.refused), (SERIES_MAX, 6));
    }
}
