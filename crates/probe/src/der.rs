//! What a certificate says of itself, read from its bytes (RFC 5280, X.690): names, validity, public key. Owns reading for
//! people and for pins; whether a chain holds is judged by webpki. A certificate that cannot be read here gives no facts,
//! never a verdict.

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::fact::bounded;
use dynowatch_domain::check::observation::CertificateFacts;
use sha2::{Digest, Sha256};

/// More names of one certificate are not kept.
const NAMES_MAX: usize = 20;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The pieces of a certificate that we look at.
pub(crate) struct Parsed<'c> {
    issuer: &'c [u8],
    subject: &'c [u8],
    not_before: Timestamp,
    not_after: Timestamp,
    /// SubjectPublicKeyInfo with its tag and length.
    pub(crate) public_key: &'c [u8],
    names: Vec<String>,
}

/// Reads a certificate. `None` if it is not one.
pub(crate) fn parse(der: &[u8]) -> Option<Parsed<'_>> {
    let certificate = Reader(der).expect(SEQUENCE)?;
    let mut fields = Reader(Reader(certificate).expect(SEQUENCE)?);
    if fields.peek() == Some(VERSION) {
        fields.next()?;
    }
    fields.next()?; // serial number
    fields.next()?; // signature algorithm
    let issuer = fields.expect(SEQUENCE)?;
    let mut validity = Reader(fields.expect(SEQUENCE)?);
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    let subject = fields.expect(SEQUENCE)?;
    let public_key = fields.next()?;
    if public_key.tag != SEQUENCE {
        return None;
    }
    let mut names = Vec::new();
    while let Some(field) = fields.next() {
        if field.tag == EXTENSIONS {
            names = alternative_names(field.content).unwrap_or_default();
        }
    }
    Some(Parsed { issuer, subject, not_before, not_after, public_key: public_key.whole, names })
}

/// What is told of a certificate.
pub(crate) fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let parsed = parse(der)?;
    Some(CertificateFacts {
        subject: distinguished_name(parsed.subject),
        issuer: distinguished_name(parsed.issuer),
        names: parsed.names,
        not_before: parsed.not_before,
        not_after: parsed.not_after,
        key_sha256: data_encoding::HEXLOWER.encode(&Sha256::digest(parsed.public_key)),
    })
}

#[derive(Clone, Copy)]
struct Element<'c> {
    tag: u8,
    content: &'c [u8],
    whole: &'c [u8],
}

struct Reader<'c>(&'c [u8]);

impl<'c> Reader<'c> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element; `None` at the end or where the length lies.
    fn next(&mut self) -> Option<Element<'c>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, header) = if first < 0x80 {
            (usize::from(first), 2)
        } else {
            let count = usize::from(first & 0x7f);
            // Longer lengths, and the indefinite one, do not occur in certificates.
            if !(1..=3).contains(&count) {
                return None;
            }
            let length = rest.get(..count)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            (length, 2 + count)
        };
        let content = self.0.get(header..header.checked_add(length)?)?;
        let whole = self.0.get(..header + length)?;
        self.0 = self.0.get(header + length..)?;
        Some(Element { tag, content, whole })
    }

    fn expect(&mut self, tag: u8) -> Option<&'c [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
fn time(element: Element<'_>) -> Option<Timestamp> {
    let text = std::str::from_utf8(element.content).ok()?.strip_suffix('Z')?;
    let full = match element.tag {
        UTC_TIME => {
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |range: std::ops::Range<usize>| full.get(range);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

/// `CN=shop.example, O=Shop`; unknown kinds of names are left out.
fn distinguished_name(content: &[u8]) -> String {
    let mut sets = Reader(content);
    let mut parts = Vec::new();
    while let Some(set) = sets.next() {
        if set.tag != SET || parts.len() >= NAMES_MAX {
            break;
        }
        let mut pairs = Reader(set.content);
        while let Some(pair) = pairs.next() {
            let mut pair = Reader(pair.content);
            let (Some(oid), Some(value)) = (pair.expect(OID), pair.next()) else { continue };
            let name = match oid {
                [0x55, 4, 3] => "CN",
                [0x55, 4, 6] => "C",
                [0x55, 4, 7] => "L",
                [0x55, 4, 8] => "ST",
                [0x55, 4, 10] => "O",
                [0x55, 4, 11] => "OU",
                _ => continue,
            };
            parts.push(format!("{name}={}", String::from_utf8_lossy(value.content)));
        }
    }
    bounded(&parts.join(", "))
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Reader(Reader(extensions).expect(SEQUENCE)?);
    while let Some(extension) = extensions.next() {
        let mut fields = Reader(extension.content);
        if fields.expect(OID)? != SUBJECT_ALT_NAME {
            continue;
        }
        let mut value = fields.next()?;
        if value.tag != OCTETS {
            value = fields.next()?;
        }
        let mut names = Reader(Reader(value.content).expect(SEQUENCE)?);
        let mut found = Vec::new();
        while let Some(name) = names.next() {
            match (name.tag, name.content) {
                (DNS_NAME, text) => found.push(bounded(&String::from_utf8_lossy(text))),
                (IP_ADDRESS, &[a, b, c, d]) => found.push(format!("{a}.{b}.{c}.{d}")),
                (IP_ADDRESS, v6) => {
                    let octets: Option<[u8; 16]> = v6.try_into().ok();
                    found.extend(octets.map(|octets| std::net::Ipv6Addr::from(octets).to_string()));
                }
                _ => {}
            }
            if found.len() == NAMES_MAX {
                break;
            }
        }
        return Some(found);
    }
    None
}

#[cfg(test)]
mod tests {
    use dynowatch_testkit::certificates::{Authority, Identity};
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn certificate(names: &[&str], until: &str) -> CertificateDer<'static> {
        let (from, until) = (Timestamp::from_seconds(0), Timestamp::parse(until).unwrap());
        let identity = Identity::self_signed(names, from, until);
        CertificateDer::from_pem_slice(identity.chain_pem().as_bytes()).unwrap()
    }

    #[test]
    fn certificates_are_read() {
        // Both ways of writing a year.
        for until in ["2049-12-31T23:59:59Z", "2051-01-02T03:04:05Z"] {
            let facts = facts(&certificate(&["a.test", "*.b.test", "10.0.0.1", "::1"], until)).unwrap();
            assert_eq!((facts.subject.as_str(), facts.issuer.as_str()), ("CN=a.test", "CN=a.test"));
            assert_eq!(facts.names, ["a.test", "*.b.test", "10.0.0.1", "::1"]);
            assert_eq!(facts.not_before, Timestamp::from_seconds(0));
            assert_eq!(facts.not_after.to_string(), until);
            assert_eq!(facts.key_sha256.len(), 64);
        }
        let root = Authority::root("Root \u{1b}[31m", Timestamp::from_seconds(0), Timestamp::from_seconds(9));
        assert_eq!(facts(&root.der()).unwrap().subject, "CN=Root  [31m", "a name moves no cursor");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            _ = facts(&bytes);
        }

        #[test]
        fn a_spoilt_certificate_is_read_or_refused(at in 0_usize..300, byte: u8, length in 0_usize..600) {
            let mut der = certificate(&["a.test"], "2030-01-01T00:00:00Z").to_vec();
            let at = at % der.len();
            der[at] = byte;
            der.truncate(length.max(1));
            _ = facts(&der);
        }
    }
}
