//! Lines of the Heroku API (`app[api]`, before about 2016 `heroku[api]`): what was released, configured, scaled or built, and by
//! whom. The cause and `Release vN created` share one stamp and come in either order; putting them together is left to others.

use super::dyno::starting;
use crate::bytes::{number, rsplit_once, split_once, token, trim_end};

/// What somebody did, and who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLine<'a> {
    /// What was done.
    pub event: ApiEvent<'a>,
    /// Who did it. Personal data: an e-mail address.
    pub actor: Option<&'a [u8]>,
}

/// What was done through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiEvent<'a> {
    /// `Release v42 created`.
    Release {
        /// The new release's number.
        version: u64,
    },
    /// `Deploy 0a1b2c3d`.
    Deploy {
        /// The commit, mostly shortened.
        commit: &'a [u8],
    },
    /// `Rollback to v40`; the release it makes has a new, higher number.
    Rollback {
        /// The release that was returned to.
        version: u64,
    },
    /// `Initial release`.
    InitialRelease,
    /// `Set A, B config vars`.
    ConfigSet {
        /// The names as written; see [`config_names`]. Values never appear.
        names: &'a [u8],
    },
    /// `Remove A config vars`.
    ConfigRemoved {
        /// The names as written; see [`config_names`].
        names: &'a [u8],
    },
    /// `Scaled to web@2:Standard-1X worker@1:Basic`.
    Scaled {
        /// Every process type, changed or not; see [`formation`].
        formation: &'a [u8],
    },
    /// `Build started`.
    BuildStarted,
    /// `Build succeeded`.
    BuildSucceeded,
    /// `Build failed`.
    BuildFailed {
        /// What follows, such as where the output can be read.
        detail: &'a [u8],
    },
    /// `Attach DATABASE (@ref:postgresql-flat-12345)`.
    Attach {
        /// The attachment's name.
        name: &'a [u8],
        /// The add-on's name; empty where the line gives none.
        addon: &'a [u8],
    },
    /// `Detach …`, as for `Attach`.
    Detach {
        /// The attachment's name.
        name: &'a [u8],
        /// The add-on's name; empty where the line gives none.
        addon: &'a [u8],
    },
    /// `@ref:papertrail-calm-12345 completed provisioning, setting …`.
    Provisioned {
        /// The add-on's name.
        addon: &'a [u8],
    },
    /// `Update PAPERTRAIL`.
    AddonUpdated {
        /// The attachment's name.
        name: &'a [u8],
    },
    /// `Enable Logplex` and other features.
    Enabled {
        /// What was enabled.
        feature: &'a [u8],
    },
    /// `Stack changed from heroku-22 to heroku-24`, `Upgrade stack to heroku-24`.
    StackChanged {
        /// The old stack; empty where the line does not say.
        from: &'a [u8],
        /// The new one.
        to: &'a [u8],
    },
    /// ``Starting process with command `…` ``: a one-off or scheduled dyno.
    Starting {
        /// The command.
        command: &'a [u8],
    },
    /// Anything else.
    Other,
}

impl<'a> ApiLine<'a> {
    /// Reads one line; never fails, since unknown wordings are [`ApiEvent::Other`].
    pub fn parse(text: &'a [u8]) -> ApiLine<'a> {
        let text = trim_end(text);
        if let Some((command, actor)) = starting(text) {
            return ApiLine { event: ApiEvent::Starting { command }, actor };
        }
        let (what, actor) = match rsplit_once(text, b" by user ").or(rsplit_once(text, b" by ")) {
            Some((what, actor)) if !actor.is_empty() && !actor.contains(&b' ') => (what, Some(actor)),
            _ => (text, None),
        };
        ApiLine { event: event(what).unwrap_or(ApiEvent::Other), actor }
    }
}

fn event(what: &[u8]) -> Option<ApiEvent<'_>> {
    match what {
        b"Initial release" => return Some(ApiEvent::InitialRelease),
        b"Build started" => return Some(ApiEvent::BuildStarted),
        b"Build succeeded" => return Some(ApiEvent::BuildSucceeded),
        _ => {}
    }
    if let Some(addon) = what.strip_prefix(b"@ref:") {
        let (addon, rest) = token(addon);
        return rest.starts_with(b"completed provisioning").then_some(ApiEvent::Provisioned { addon });
    }
    let (verb, rest) = token(what);
    Some(match verb {
        b"Release" => ApiEvent::Release { version: version(rest.strip_suffix(b" created")?)? },
        b"Deploy" if !rest.is_empty() => ApiEvent::Deploy { commit: token(rest).0 },
        b"Rollback" => ApiEvent::Rollback { version: version(rest.strip_prefix(b"to ")?)? },
        b"Set" => ApiEvent::ConfigSet { names: config_vars(rest)? },
        b"Remove" | b"Unset" => ApiEvent::ConfigRemoved { names: config_vars(rest)? },
        b"Scaled" | b"Scale" => ApiEvent::Scaled { formation: rest.strip_prefix(b"to ")? },
        b"Build" => {
            let detail = rest.strip_prefix(b"failed")?;
            ApiEvent::BuildFailed { detail: detail.strip_prefix(b" -- ").unwrap_or(detail).trim_ascii() }
        }
        b"Attach" => {
            let (name, addon) = attachment(rest);
            ApiEvent::Attach { name, addon }
        }
        b"Detach" => {
            let (name, addon) = attachment(rest);
            ApiEvent::Detach { name, addon }
        }
        b"Update" if !rest.is_empty() => ApiEvent::AddonUpdated { name: rest },
        b"Enable" if !rest.is_empty() => ApiEvent::Enabled { feature: rest },
        b"Stack" => {
            let (from, to) = split_once(rest.strip_prefix(b"changed from ")?, b" to ")?;
            ApiEvent::StackChanged { from, to }
        }
        b"Upgrade" => ApiEvent::StackChanged { from: &[], to: rest.strip_prefix(b"stack to ")? },
        _ => return None,
    })
}

fn version(b: &[u8]) -> Option<u64> {
    number(b.strip_prefix(b"v")?)
}

/// The names in `A, B config vars`; the singular occurs too.
fn config_vars(b: &[u8]) -> Option<&[u8]> {
    b.strip_suffix(b" config vars").or(b.strip_suffix(b" config var")).filter(|names| !names.is_empty())
}

/// `DATABASE (@ref:postgresql-flat-12345)`: name and add-on.
fn attachment(b: &[u8]) -> (&[u8], &[u8]) {
    let (name, rest) = token(b);
    let addon = rest.strip_prefix(b"(@ref:").and_then(|rest| rest.strip_suffix(b")"));
    (name, addon.unwrap_or(&[]))
}

/// The single names in [`ApiEvent::ConfigSet`] and [`ApiEvent::ConfigRemoved`].
pub fn config_names(names: &[u8]) -> impl Iterator<Item = &[u8]> {
    names.split(|c| matches!(c, b',' | b' ')).filter(|name| !name.is_empty() && *name != b"and")
}

/// One process type of [`ApiEvent::Scaled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity<'a> {
    /// `web`, `worker`, …
    pub process: &'a [u8],
    /// How many dynos.
    pub dynos: u64,
    /// Their size (`Standard-1X`); empty where the line gives none.
    pub size: &'a [u8],
}

/// The process types of [`ApiEvent::Scaled`]: `web@2:Standard-1X`, and `web=2` as old lines write it. Parts of another
/// form are left out.
pub fn formation(formation: &[u8]) -> impl Iterator<Item = Quantity<'_>> {
    formation.split(|c| matches!(c, b' ' | b',')).filter_map(|part| {
        let mark = part.iter().position(|c| matches!(c, b'@' | b'='))?;
        let (process, rest) = (&part[..mark], &part[mark + 1..]);
        let (dynos, size) = match memchr::memchr(b':', rest) {
            Some(i) => (&rest[..i], &rest[i + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        Some(Quantity { process, dynos: number(dynos)?, size }).filter(|q| !q.process.is_empty())
    })
}
