//! Forms that carry a file (`multipart/form-data`, RFC 7578), read from a body that is held whole and bounded. Only what
//! browsers send: no nesting, no transfer encodings.

use bytes::Bytes;
use memchr::memmem;

/// Parts of one form.
const PARTS_MAX: usize = 64;
/// The longest boundary, by RFC 2046.
const BOUNDARY_BYTES_MAX: usize = 70;

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The field's name.
    pub(crate) name: String,
    /// Whether it is a file, even one that was not chosen.
    pub(crate) is_file: bool,
    /// What it holds.
    pub(crate) body: Bytes,
}

/// A form with a file, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Multipart(Vec<Part>);

impl Multipart {
    /// Reads a body of that content type; `None` when it is no such form, or one with too many parts.
    pub(crate) fn read(content_type: &str, body: &Bytes) -> Option<Self> {
        let delimiter = format!("--{}", boundary(content_type)?).into_bytes();
        let mut parts = Vec::new();
        let mut at = memmem::find(body, &delimiter)? + delimiter.len();
        let next = [b"\r\n", &delimiter[..]].concat();
        loop {
            let rest = body.get(at..)?;
            if rest.starts_with(b"--") {
                return Some(Self(parts));
            }
            let begin = at + memmem::find(rest, b"\r\n")? + 2;
            let end = begin + memmem::find(body.get(begin..)?, &next)?;
            if parts.len() == PARTS_MAX {
                return None;
            }
            parts.push(part(&body.slice(begin..end))?);
            at = end + next.len();
        }
    }

    /// The fields that are text, in their order.
    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        let texts = self.0.iter().filter(|part| !part.is_file);
        texts.map(|part| (part.name.clone(), String::from_utf8_lossy(&part.body).into_owned())).collect()
    }

    /// The one value of a text field; `None` when it is missing or there several times.
    pub(crate) fn only(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.0.iter().filter(|part| !part.is_file && part.name == name);
        found.next().filter(|_| found.next().is_none()).map(|part| &part.body[..])
    }

    /// A file that was chosen.
    pub(crate) fn file(&self, name: &str) -> Option<Bytes> {
        self.0
            .iter()
            .find(|part| part.is_file && part.name == name && !part.body.is_empty())
            .map(|part| part.body.clone())
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let mut parts = content_type.split(';').map(str::trim);
    parts.next().filter(|kind| kind.eq_ignore_ascii_case("multipart/form-data"))?;
    let boundary = parts.find_map(|part| part.strip_prefix("boundary="))?.trim_matches('"');
    (!boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX).then_some(boundary)
}

/// Headers, an empty line, the content.
fn part(bytes: &Bytes) -> Option<Part> {
    let (head, begin) = if bytes.starts_with(b"\r\n") {
        (&[][..], 2)
    } else {
        let end = memmem::find(bytes, b"\r\n\r\n")?;
        (bytes.get(..end)?, end + 4)
    };
    let head = String::from_utf8_lossy(head);
    let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let name = parameter(disposition, "name")?;
    Some(Part { name, is_file: parameter(disposition, "filename").is_some(), body: bytes.slice(begin..) })
}

/// A quoted parameter. Browsers write a quote inside as `%22`.
fn parameter(header: &str, name: &str) -> Option<String> {
    let found = header.split(';').map(str::trim).find_map(|part| part.strip_prefix(name)?.strip_prefix("=\""))?;
    found.split('"').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND: &str = "multipart/form-data; boundary=xYz";

    fn form(fields: &[(&str, Option<&str>, &[u8])]) -> Bytes {
        let mut out = Vec::new();
        for (name, file, body) in fields {
            let file =
                file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: text/plain")).unwrap_or_default();
            out.extend_from_slice(
                format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes(),
            );
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"--xYz--\r\n");
        out.into()
    }

    #[test]
    fn what_browsers_send() {
        let body = form(&[
            ("csrf", None, b"abc"),
            ("match.text", None, b"a\r\nb; \"c\""),
            ("log", Some("name\".log"), b"\x1f\x8b\r\n--xY\r\n"),
            ("other", Some(""), b""),
        ]);
        let read = Multipart::read(KIND, &body).unwrap();
        assert_eq!(read.texts(), [("csrf".into(), "abc".into()), ("match.text".into(), "a\r\nb; \"c\"".into())]);
        assert_eq!(read.only("csrf"), Some(&b"abc"[..]));
        assert_eq!(read.file("log").as_deref(), Some(&b"\x1f\x8b\r\n--xY\r\n"[..]));
        assert_eq!((read.file("other"), read.file("csrf"), read.only("log")), (None, None, None));
        assert_eq!(Multipart::read(KIND, &form(&[])), Some(Multipart::default()));
        let twice = Multipart::read(KIND, &form(&[("csrf", None, b"a"), ("csrf", None, b"b")])).unwrap();
        assert_eq!(twice.only("csrf"), None);
    }

    #[test]
    fn what_is_none() {
        let whole = form(&[("a", None, b"b")]);
        for (kind, body) in [
            ("application/x-www-form-urlencoded", whole.clone()),
            ("multipart/form-data", whole.clone()),
            ("multipart/form-data; boundary=", whole.clone()),
            ("multipart/form-data; boundary=other", whole.clone()),
            (KIND, whole.slice(..whole.len() - 6)),
            (KIND, Bytes::from_static(b"--xYz\r\nno headers\r\n--xYz--")),
            (KIND, Bytes::new()),
        ] {
            assert_eq!(Multipart::read(kind, &body), None, "{kind}");
        }
        let many: Vec<_> = (0..=PARTS_MAX).map(|_| ("a", None, &b"b"[..])).collect();
        assert_eq!(Multipart::read(KIND, &form(&many)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(body in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..200) {
            let _read = Multipart::read(KIND, &body.clone().into());
            let sound = form(&[("log", Some("x"), &body)]);
            let _cut = Multipart::read(KIND, &sound.slice(..cut.min(sound.len())));
            if memmem::find(&body, b"\r\n--xYz").is_none() && !body.is_empty() {
                prop_assert_eq!(Multipart::read(KIND, &sound).unwrap().file("log").unwrap(), body);
            }
        }
    }
}
