//! What is read of Heroku's objects. Fields not named here are dropped while parsing, and those that may be missing or
//! `null` are optional: the live API leaves its schema now and then.

use std::fmt;

use dynowatch_domain::Timestamp;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

/// The two platforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The one with Logplex, and so with log drains.
    Cedar,
    /// The one with telemetry drains (OTLP) in their place.
    Fir,
}

impl Generation {
    /// Heroku's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cedar => "cedar",
            Self::Fir => "fir",
        }
    }
}

/// Something that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct App {
    /// For good.
    pub id: Uuid,
    /// May change.
    pub name: String,
    /// Whether visitors are shown a page instead of the app.
    #[serde(default)]
    pub maintenance: Option<bool>,
    /// When its newest release became current.
    #[serde(default, deserialize_with = "when")]
    pub released_at: Option<Timestamp>,
    /// Since when it exists.
    #[serde(default, deserialize_with = "when")]
    pub created_at: Option<Timestamp>,
    #[serde(default)]
    stack: Option<Named>,
    #[serde(default)]
    region: Option<Named>,
    #[serde(default)]
    owner: Option<Person>,
    #[serde(default)]
    team: Option<Named>,
    #[serde(default)]
    space: Option<Named>,
    #[serde(default)]
    generation: Option<Named>,
}

impl App {
    /// Which platform it runs on: what `generation` says; without that field, a Cloud Native Buildpacks stack means Fir.
    #[must_use]
    pub fn generation(&self) -> Generation {
        let fir = match &self.generation {
            Some(generation) => generation.name.eq_ignore_ascii_case("fir"),
            None => self.stack().is_some_and(|stack| stack.eq_ignore_ascii_case("cnb") || stack.starts_with("cnb-")),
        };
        if fir { Generation::Fir } else { Generation::Cedar }
    }

    /// As in `heroku-24`.
    #[must_use]
    pub fn stack(&self) -> Option<&str> {
        name(&self.stack)
    }

    /// As in `us`.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        name(&self.region)
    }

    /// The team it belongs to.
    #[must_use]
    pub fn team(&self) -> Option<&str> {
        name(&self.team)
    }

    /// The Private Space it runs in.
    #[must_use]
    pub fn space(&self) -> Option<&str> {
        name(&self.space)
    }

    /// The e-mail address of its owner.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_ref()?.email.as_deref()
    }
}

/// A process type and how many of it there should be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Formation {
    /// As in `web`.
    #[serde(rename = "type")]
    pub process_type: String,
    /// Dynos.
    #[serde(default)]
    pub quantity: i64,
    /// As in `Standard-1X`.
    #[serde(default, deserialize_with = "or_default")]
    pub size: String,
}

/// A dyno.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dyno {
    /// Changes at every restart.
    pub id: Uuid,
    /// As in `web.1`.
    pub name: String,
    /// As in `web`.
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub process_type: String,
    /// `up`, `starting`, `crashed`, `idle`, `down`, or what Heroku thinks of next.
    #[serde(default, deserialize_with = "or_default")]
    pub state: String,
    /// As in `Standard-1X`.
    #[serde(default, deserialize_with = "or_default")]
    pub size: String,
    #[serde(default)]
    release: Option<ReleaseRef>,
    /// When its state last changed.
    #[serde(default, deserialize_with = "when")]
    pub updated_at: Option<Timestamp>,
}

impl Dyno {
    /// The version of the release it runs.
    #[must_use]
    pub fn release(&self) -> Option<i64> {
        self.release.as_ref()?.version
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ReleaseRef {
    #[serde(default)]
    version: Option<i64>,
}

/// An add-on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AddOn {
    /// For good.
    pub id: Uuid,
    /// As in `postgresql-flat-1234`.
    pub name: String,
    /// `provisioning`, `provisioned`, `deprovisioned`.
    #[serde(default, deserialize_with = "or_default")]
    pub state: String,
    app: AppRef,
    #[serde(default)]
    addon_service: Option<Named>,
    #[serde(default)]
    plan: Option<Named>,
    /// The NAMES of the config vars that it sets. Their values are never asked for.
    #[serde(default, deserialize_with = "or_default")]
    pub config_vars: Vec<String>,
}

impl AddOn {
    /// The app that it is billed to.
    #[must_use]
    pub fn app_id(&self) -> Uuid {
        self.app.id
    }

    /// As in `heroku-postgresql`.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        name(&self.addon_service)
    }

    /// As in `heroku-postgresql:standard-0`.
    #[must_use]
    pub fn plan(&self) -> Option<&str> {
        name(&self.plan)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct AppRef {
    id: Uuid,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// For good.
    pub id: Uuid,
    /// `124` of `v124`.
    pub version: i64,
    /// `pending`, `succeeded`, `failed`; old ones have none.
    #[serde(default)]
    pub status: Option<String>,
    /// Whether it is the one in force.
    #[serde(default)]
    pub current: Option<bool>,
    /// The cause, as in `Deploy 0a1b2c3d`.
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    #[serde(default)]
    slug: Option<IdRef>,
    #[serde(default)]
    oci_image: Option<IdRef>,
    #[serde(default)]
    user: Option<Person>,
    /// When it was made, to the second.
    #[serde(default, deserialize_with = "when")]
    pub created_at: Option<Timestamp>,
}

impl Release {
    /// What code it runs: its slug, on Fir its image. `None` before the first build. Two releases with the same code
    /// differ in their configuration only.
    #[must_use]
    pub fn code(&self) -> Option<Uuid> {
        self.slug.as_ref().or(self.oci_image.as_ref()).map(|code| code.id)
    }

    /// The slug; none on Fir.
    #[must_use]
    pub fn slug(&self) -> Option<Uuid> {
        self.slug.as_ref().map(|slug| slug.id)
    }

    /// The e-mail address of who made it.
    #[must_use]
    pub fn author(&self) -> Option<&str> {
        self.user.as_ref()?.email.as_deref()
    }
}

/// A slug, of which only this is read: its `blob` is a signed URL, its commands may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Slug {
    /// The commit it was built from.
    #[serde(default)]
    pub commit: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct IdRef {
    id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Person {
    #[serde(default)]
    email: Option<String>,
}

/// A log drain.
#[derive(Debug, Clone, Deserialize)]
pub struct LogDrain {
    /// For good.
    pub id: Uuid,
    /// As Logplex sends it with every delivery.
    pub token: String,
    /// Where it delivers to: a secret, since it holds the receiver's password wherever the receiver wants it.
    #[serde(deserialize_with = "secret")]
    pub url: SecretString,
    #[serde(default)]
    addon: Option<Named>,
    /// Since when it exists.
    #[serde(default, deserialize_with = "when")]
    pub created_at: Option<Timestamp>,
}

impl LogDrain {
    /// Where it delivers to, in parts; `None` when that is no URL.
    #[must_use]
    pub fn place(&self) -> Option<DrainPlace> {
        Url::parse(self.url.expose_secret()).ok().filter(Url::has_host).map(DrainPlace)
    }

    /// The add-on that made it and alone can remove it.
    #[must_use]
    pub fn addon(&self) -> Option<&str> {
        name(&self.addon)
    }
}

/// Where a drain delivers to. Only its host is harmless: others keep secrets in their paths and queries.
pub struct DrainPlace(Url);

impl DrainPlace {
    /// The host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The path below a base such as `https://ops.example/watch`, if it lies there.
    #[must_use]
    pub fn below(&self, base: &str) -> Option<&str> {
        let base = Url::parse(base).ok()?;
        let same = base.scheme() == self.0.scheme()
            && base.host_str() == self.0.host_str()
            && base.port_or_known_default() == self.0.port_or_known_default();
        let rest = self.0.path().strip_prefix(base.path().trim_end_matches('/'))?;
        (same && rest.starts_with('/')).then_some(rest)
    }

    /// A value of its query.
    #[must_use]
    pub fn query(&self, key: &str) -> Option<String> {
        self.0.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }
}

impl fmt::Debug for DrainPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DrainPlace").field(&self.host()).finish()
    }
}

/// A feature of an app.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Feature {
    /// As in `log-runtime-metrics`.
    pub name: String,
    /// Whether it is on.
    pub enabled: bool,
}

fn name(named: &Option<Named>) -> Option<&str> {
    named.as_ref().map(|named| named.name.as_str()).filter(|name| !name.is_empty())
}

/// A time; what is none is `None` rather than the end of a whole list.
fn when<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| Timestamp::parse(&text).ok()))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// `null` where the schema promises a value.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fir_by_its_generation_else_by_its_stack() {
        for (fields, want) in [
            (r#""generation":{"name":"fir"},"stack":{"name":"cnb"}"#, Generation::Fir),
            (r#""generation":{"name":"cedar"},"stack":{"name":"cnb"}"#, Generation::Cedar),
            (r#""stack":{"name":"cnb"}"#, Generation::Fir),
            (r#""generation":null,"stack":{"name":"heroku-24"}"#, Generation::Cedar),
            (r#""stack":null"#, Generation::Cedar),
        ] {
            let text = format!(r#"{{"id":"00000000-0000-0000-0000-000000000001","name":"shop",{fields}}}"#);
            let app: App = serde_json::from_str(&text).unwrap();
            assert_eq!(app.generation(), want, "{fields}");
        }
    }

    #[test]
    fn what_is_missing_or_null_costs_no_list() {
        let release: Release = serde_json::from_str(
            r#"{"id":"00000000-0000-0000-0000-000000000001","version":3,"status":null,"description":null,"slug":null,"user":null,"created_at":"yesterday","new":1}"#,
        )
        .unwrap();
        assert_eq!((release.code(), release.author(), release.created_at), (None, None, None));
        let drain: LogDrain = serde_json::from_str(
            r#"{"id":"00000000-0000-0000-0000-000000000001","token":"d.1","url":"https://u:pass@x.example/","addon":null}"#,
        )
        .unwrap();
        assert!(!format!("{drain:?} {:?}", drain.place()).contains("pass"), "{drain:?}");
    }

    #[test]
    fn places_below_a_base() {
        let place = |url: &str| DrainPlace(Url::parse(url).unwrap());
        for (url, base, want) in [
            ("https://drain:pw@ops.example/drain/shop?drain=1", "https://ops.example", Some("/drain/shop")),
            ("https://ops.example:443/w/drain", "https://ops.example/w", Some("/drain")),
            ("https://ops.example/water/drain", "https://ops.example/w", None),
            ("http://ops.example/drain", "https://ops.example", None),
            ("https://ops.example.evil/drain", "https://ops.example", None),
            ("syslog+tls://logs.example:6514", "https://ops.example", None),
        ] {
            assert_eq!(place(url).below(base), want, "{url}");
        }
        let marked = place("https://ops.example/drain/shop?a=b&drain=0f");
        assert_eq!(
            (marked.query("drain").as_deref(), marked.query("x"), marked.host()),
            (Some("0f"), None, "ops.example")
        );
    }
}
