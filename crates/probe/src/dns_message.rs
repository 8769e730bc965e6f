//! DNS messages (RFC 1035): one question out, its answer in. Owns the bytes; asking is `dns`'s. An answer is read with a
//! bound on every loop, since a name may point back into itself.

use dynowatch_domain::check::kind::RecordType;

/// More records of one answer are not read.
const RECORDS_MAX: u16 = 200;
/// A name points elsewhere at most so often.
const POINTERS_MAX: u8 = 10;
const HEADER_BYTES: usize = 12;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 0: no error; 3: no such name.
    pub(crate) code: u8,
    /// The rest came too long for UDP.
    pub(crate) is_truncated: bool,
    /// The records of the wanted type, as text, with their time to live in seconds.
    pub(crate) records: Vec<(String, u32)>,
}

/// A question for all records of a type. `None` if the name cannot be asked for.
pub(crate) fn question(id: u16, name: &str, record: RecordType) -> Option<Vec<u8>> {
    let mut out = id.to_be_bytes().to_vec();
    // One question, please with recursion.
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        out.push(length);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(record.number().to_be_bytes());
    out.extend([0, 1]);
    (out.len() <= 255 + HEADER_BYTES + 5).then_some(out)
}

/// Reads an answer to the question with that id. `None` if it is another's or cannot be read.
pub(crate) fn reply(message: &[u8], id: u16, record: RecordType) -> Option<Reply> {
    let mut reader = Reader { message, at: 0 };
    let (found, flags) = (reader.u16()?, reader.u16()?);
    let is_reply = flags & 0x8000 != 0;
    if found != id || !is_reply {
        return None;
    }
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    for _ in 0..questions.min(RECORDS_MAX) {
        reader.name()?;
        reader.skip(4)?;
    }
    let code = u8::try_from(flags & 0xf).ok()?;
    let is_truncated = flags & 0x0200 != 0;
    let mut records = Vec::new();
    for _ in 0..answers.min(RECORDS_MAX) {
        match reader.record(record) {
            Some(Some(found)) => records.push(found),
            Some(None) => {}
            // Cut off in the middle: the whole of it is asked for over TCP.
            None if is_truncated => break,
            None => return None,
        }
    }
    Some(Reply { code, is_truncated, records })
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A name, and the place behind it.
    fn name(&mut self) -> Option<String> {
        let (mut name, mut pointers, mut behind) = (String::new(), 0, None);
        loop {
            let length = *self.take(1)?.first()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.take(usize::from(length))?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&String::from_utf8_lossy(label));
                    if name.len() > 255 * 3 {
                        return None;
                    }
                }
                192.. => {
                    let low = *self.take(1)?.first()?;
                    pointers += 1;
                    if pointers > POINTERS_MAX {
                        return None;
                    }
                    behind.get_or_insert(self.at);
                    self.at = usize::from(length & 0x3f) << 8 | usize::from(low);
                }
                _ => return None,
            }
        }
        if let Some(behind) = behind {
            self.at = behind;
        }
        Some(name.to_ascii_lowercase())
    }

    /// A record; the inner `None` is one of another type.
    fn record(&mut self, wanted: RecordType) -> Option<Option<(String, u32)>> {
        self.name()?;
        let (kind, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.message.len())?;
        if kind != wanted.number() || class != 1 {
            self.at = end;
            return Some(None);
        }
        let text = match wanted {
            RecordType::A => {
                let octets: [u8; 4] = self.take(4)?.try_into().ok()?;
                std::net::Ipv4Addr::from(octets).to_string()
            }
            RecordType::Aaaa => {
                let octets: [u8; 16] = self.take(16)?.try_into().ok()?;
                std::net::Ipv6Addr::from(octets).to_string()
            }
            RecordType::Cname | RecordType::Ns => self.name()?,
            RecordType::Mx => {
                let preference = self.u16()?;
                format!("{preference} {}", self.name()?)
            }
            RecordType::Txt => {
                let mut text = String::new();
                while self.at < end {
                    let length = usize::from(*self.take(1)?.first()?);
                    text.push_str(&String::from_utf8_lossy(self.take(length)?));
                }
                text
            }
        };
        if self.at > end {
            return None;
        }
        self.at = end;
        Some(Some((text, ttl)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to a question for shop.example, whose records are given as (type, content).
    fn answer(flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = question(7, "shop.example", RecordType::A).unwrap();
        out[2..4].copy_from_slice(&flags.to_be_bytes());
        out[7] = u8::try_from(records.len()).unwrap();
        for (kind, content) in records {
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            out.extend(*content);
        }
        out
    }

    #[test]
    fn records_are_read() {
        for (record, content, want) in [
            (RecordType::A, &[1, 2, 3, 4][..], "1.2.3.4"),
            (RecordType::Aaaa, &[0; 16], "::"),
            (RecordType::Cname, &[3, b'W', b'w', b'w', 0xc0, 12], "www.shop.example"),
            (RecordType::Mx, &[0, 10, 0xc0, 12], "10 shop.example"),
            (RecordType::Txt, &[2, b'a', b'b', 1, b'c'], "abc"),
        ] {
            let message = answer(0x8180, &[(99, &[0]), (record.number(), content)]);
            let reply = reply(&message, 7, record).unwrap();
            assert_eq!(reply.records, [(want.to_owned(), 60)]);
            assert_eq!((reply.code, reply.is_truncated), (0, false));
        }
        assert_eq!(reply(&answer(0x8183, &[]), 7, RecordType::A).unwrap().code, 3);
        assert!(reply(&answer(0x8380, &[]), 7, RecordType::A).unwrap().is_truncated);
    }

    #[test]
    fn what_is_no_answer_to_us_is_refused() {
        let good = answer(0x8180, &[(1, &[1, 2, 3, 4])]);
        assert_eq!(reply(&good, 8, RecordType::A), None, "another id");
        assert_eq!(reply(&answer(0x0180, &[]), 7, RecordType::A), None, "a question");
        assert_eq!(reply(&answer(0x8180, &[(1, &[1, 2, 3])]), 7, RecordType::A), None, "a short address");
        // A name that points at itself.
        let at = u8::try_from(good.len() - 4).unwrap();
        assert_eq!(reply(&answer(0x8180, &[(5, &[0xc0, at, 0, 0])]), 7, RecordType::Cname), None);
        for name in ["", "a..b", &"x".repeat(64), &"abcdefg.".repeat(40)] {
            assert_eq!(question(1, name, RecordType::A), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0_usize..6) {
            if bytes.len() > 4 {
                bytes[..4].copy_from_slice(&[0, 7, 0x81, 0x80]);
            }
            _ = reply(&bytes, 7, RecordType::ALL[kind].0);
        }
    }
}
