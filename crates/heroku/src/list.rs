//! Lists by ranges. Heroku answers 206 with a `Next-Range` as long as there is more; that header is sent back as it is.

use std::fmt;

use secrecy::SecretString;
use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use crate::client::{Answer, Client, Request};
use crate::error::Error;

/// Pages of one list at most.
const PAGES_MAX: usize = 100;
/// Items of one list at most. Beyond it the list is refused rather than shown as if it were complete.
const ITEMS_MAX: usize = 20_000;

impl Client {
    /// A whole list, page by page. All or nothing: who compares it with what was known must not take a missing page for
    /// things that are gone.
    pub(crate) async fn list<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut range = "id ..; max=1000".to_owned();
        for _page in 0..PAGES_MAX {
            let answer = self.send(Request::get(path).range(&range)).await?;
            let next = answer.next_range.clone();
            let partial = answer.status == 206;
            all.extend(parse::<Vec<T>>(&answer)?);
            if all.len() > ITEMS_MAX {
                return Err(malformed(&answer, &format!("a list of more than {ITEMS_MAX} items")));
            }
            match (partial, next) {
                (false, _) => return Ok(all),
                (true, Some(next)) if next != range => range = next,
                (true, Some(_)) => return Err(malformed(&answer, "its next page is the same again")),
                (true, None) => return Err(malformed(&answer, "a part of a list without a Next-Range")),
            }
        }
        Err(Error::Malformed { what: format!("a list of more than {PAGES_MAX} pages"), request_id: None })
    }

    /// The first page of a range.
    pub(crate) async fn first_page<T: DeserializeOwned>(&self, path: &[&str], range: &str) -> Result<Vec<T>, Error> {
        parse(&self.send(Request::get(path).range(range)).await?)
    }

    /// One object.
    pub(crate) async fn one<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Error> {
        parse(&self.send(request).await?)
    }

    /// One value of an object of texts, by its key. The others are dropped while parsing.
    pub(crate) async fn one_value(&self, request: Request<'_>, key: &str) -> Result<Option<SecretString>, Error> {
        let answer = self.send(request).await?;
        let mut json = serde_json::Deserializer::from_slice(&answer.body);
        let found = Picked(key).deserialize(&mut json).and_then(|found| json.end().map(|()| found));
        found.map_err(|_quotes_values| malformed(&answer, "not the object of texts that was asked for"))
    }
}

/// Picks one text out of an object.
struct Picked<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Picked<'_> {
    type Value = Option<SecretString>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Picked<'_> {
    type Value = Option<SecretString>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == self.0 {
                found = map.next_value::<Option<String>>()?.map(SecretString::from);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    // serde's message may quote a value: only where it went wrong is said.
    serde_json::from_slice(&answer.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        malformed(
            answer,
            &format!("not the JSON that was asked for (line {line}, column {column}, {} bytes)", answer.body.len()),
        )
    })
}

fn malformed(answer: &Answer, what: &str) -> Error {
    Error::Malformed { what: what.to_owned(), request_id: answer.request_id.clone() }
}

/// A body with one secret value.
pub(crate) fn secret_body(key: &str, value: &SecretString) -> serde_json::Value {
    use secrecy::ExposeSecret as _;
    serde_json::json!({ key: value.expose_secret() })
}
