//! `[sign_in]` and `[oidc]`: how people come in, and the key that their authenticators' secrets are kept with. The file says
//! which issuer and which groups; its secret and the key stand in the environment alone.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use dynowatch_domain::account::Role;
use dynowatch_web::OidcOptions;
use secrecy::SecretString;

use super::env;
use super::keys;
use super::reader::{Table, shortened};
use super::urls;
use super::variables::Variables;

/// Keys of the environment; more than two are only needed while one is changed.
const KEYS_MAX: usize = 8;
/// Groups that stand for a role.
const GROUPS_MAX: usize = 1_000;
const TEXT_BYTES_MAX: usize = 512;

/// How people come in. Its `Debug` form shows no secret.
#[derive(Clone, Default)]
pub struct AccountsConfig {
    /// Whether `X-Forwarded-*` are written by a proxy that is ours. Always so on a dyno.
    pub trust_forwarded: bool,
    /// Keys that secrets in the store are sealed with, newest first.
    pub secret_keys: Vec<[u8; 32]>,
    /// An issuer that people sign in with.
    pub oidc: Option<OidcOptions>,
}

impl fmt::Debug for AccountsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountsConfig")
            .field("trust_forwarded", &self.trust_forwarded)
            .field("secret_keys", &self.secret_keys.len())
            .field("oidc", &self.oidc.as_ref().map(|oidc| &oidc.issuer))
            .finish()
    }
}

/// Reads both sections and the variables.
pub(super) fn read(
    root: &Table<'_>,
    variables: &Variables<'_>,
    on_dyno: bool,
    public_url: Option<&str>,
) -> AccountsConfig {
    let table = root.table("sign_in", keys::SIGN_IN);
    let trusted = table.and_then(|table| table.get("trust_forwarded")).and_then(|node| node.flag()).unwrap_or(false);
    AccountsConfig {
        trust_forwarded: trusted || on_dyno,
        secret_keys: variables.read(env::SECRET_KEY, secret_keys).unwrap_or_default(),
        oidc: oidc(root, variables, public_url),
    }
}

/// Keys of 32 bytes in hex, separated by commas.
pub(super) fn secret_keys(text: &str) -> Result<Vec<[u8; 32]>, String> {
    const WANTED: &str =
        "write what `openssl rand -hex 32` prints: 64 hex digits (several with commas between, the newest first)";
    let keys: Option<Vec<[u8; 32]>> =
        text.split(',').map(|part| HEXLOWER_PERMISSIVE.decode(part.trim().as_bytes()).ok()?.try_into().ok()).collect();
    let keys = keys.ok_or_else(|| format!("this is no key of 32 bytes: {WANTED}"))?;
    // A key that someone typed has few different bytes; a random one of 32 has about thirty.
    let is_sample = |key: &[u8; 32]| key.iter().collect::<std::collections::BTreeSet<_>>().len() < 12;
    if keys.iter().any(is_sample) {
        return Err(format!("this key is not random: {WANTED}"));
    }
    if keys.len() > KEYS_MAX {
        return Err(format!("holds {} keys: write at most {KEYS_MAX}", keys.len()));
    }
    Ok(keys)
}

fn oidc(root: &Table<'_>, variables: &Variables<'_>, public_url: Option<&str>) -> Option<OidcOptions> {
    let table = root.table("oidc", keys::OIDC)?;
    let text = |key: &'static str, wanted: &str| match table.get(key) {
        Some(node) => {
            let text = node.text(wanted)?.trim();
            if text.is_empty() || text.len() > TEXT_BYTES_MAX {
                node.fail(format!("write {wanted}"))
            } else {
                Some(text.to_owned())
            }
        }
        None => table.fail(key, format!("missing: write {wanted}")),
    };
    let given = |key: &'static str, wanted: &str| if table.has(key) { text(key, wanted) } else { None };
    let issuer = text("issuer", "the issuer's URL, as in \"https://sso.example.com\"");
    let issuer = issuer.filter(|issuer| is_good_issuer(&table, issuer));
    if public_url.is_none() {
        table.fail::<()>("issuer", "signing in elsewhere leads back here, so server.public_url must be set");
    }
    let words = |key: &'static str| {
        let list = table.get(key).and_then(|node| node.list("a list of words")).unwrap_or_default();
        list.iter().filter_map(|node| node.text("a word")).map(str::to_owned).collect::<Vec<_>>()
    };
    let roles = roles(&table);
    let default_role = table.get("default_role").and_then(|node| {
        let name = node.text("viewer, operator or superadmin")?;
        Role::named(name).or_else(|| node.fail(unknown_role(name)))
    });
    if roles.is_empty() && default_role.is_none() {
        table.fail::<()>(
            "default_role",
            "nobody could come in: write default_role = \"viewer\", or groups under [oidc.roles]",
        );
    }
    Some(OidcOptions {
        issuer: issuer?,
        client_id: text("client_id", "what the issuer knows this instance by")?,
        client_secret: variables.value(env::OIDC_SECRET).map(SecretString::from),
        name: given("name", "what the button says").unwrap_or_else(|| "single sign-on".to_owned()),
        scopes: if table.has("scopes") { words("scopes") } else { vec!["profile".to_owned(), "email".to_owned()] },
        groups_claim: given("groups_claim", "the name of a claim").unwrap_or_else(|| "groups".to_owned()),
        roles,
        default_role,
    })
}

fn is_good_issuer(table: &Table<'_>, issuer: &str) -> bool {
    let near = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
    let good =
        urls::base(issuer).is_ok() && (issuer.starts_with("https://") || near.iter().any(|n| issuer.starts_with(n)));
    if !good {
        let problem = format!("{:?} is no issuer: write its https URL, exactly as it writes itself", shortened(issuer));
        table.fail::<()>("issuer", problem);
    }
    good
}

fn unknown_role(name: &str) -> String {
    format!("{:?} is no role: write viewer, operator or superadmin", shortened(name))
}

/// `[oidc.roles]`: groups by name, each with its role.
fn roles(table: &Table<'_>) -> Vec<(String, Role)> {
    let Some(node) = table.get("roles") else { return Vec::new() };
    let Some(groups) = node.any_table("a table of groups, as in { developers = \"operator\" }") else {
        return Vec::new();
    };
    let entries = groups.entries();
    if entries.len() > GROUPS_MAX {
        table.fail::<()>("roles", format!("{} groups are too many: at most {GROUPS_MAX}", entries.len()));
    }
    let read = |(group, node): (&str, super::reader::Node<'_>)| {
        let name = node.text("viewer, operator or superadmin")?;
        let role = Role::named(name).or_else(|| node.fail(unknown_role(name)))?;
        Some((group.to_owned(), role))
    };
    entries.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_random_and_whole() {
        let good = "8f1d6f0c2b7e4a9356d0c1e2f3a4b5c67d8e9fa0b1c2d3e4f5061728394a5b6c";
        assert_eq!(secret_keys(good).unwrap().len(), 1);
        assert_eq!(secret_keys(&format!("{good}, {}", good.to_uppercase())).unwrap().len(), 2);
        for bad in ["", "changeme", &"0".repeat(64), &"ab".repeat(32), &good[..62], &format!("{good},")] {
            let problem = secret_keys(bad).unwrap_err();
            assert!(bad.is_empty() || !problem.contains(bad), "{problem}");
        }
    }
}
