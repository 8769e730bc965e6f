//! Rules over the dependency graph: the arrows between our crates, who may hold which library, what the pure crates
//! may reach, what nobody may bring in.
//!
//! The arrows come from `cargo metadata`, whose resolved graph lists what each crate really links. It unites features
//! over the whole workspace, though: `uuid` would look as if it reached `getrandom` for `domain` because `engine`
//! turns that on. So purity asks `cargo tree -p`, which resolves one crate as if it were built alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use super::Finding;
use crate::command;

/// Who may know whom, as in ARCHITECTURE.md; a crate's own name stands first. `testkit` is for tests alone, so
/// nobody lists it.
const ARROWS: &[(&str, &[&str])] = &[
    ("logplex", &[]),
    ("domain", &[]),
    ("store", &["domain"]),
    ("heroku", &["domain"]),
    ("notify", &["domain"]),
    ("probe", &["domain"]),
    ("engine", &["domain", "logplex", "store", "heroku", "notify", "probe"]),
    ("web", &["domain", "engine", "store"]),
    ("dynowatch", &["domain", "logplex", "store", "heroku", "notify", "probe", "engine", "web"]),
    ("testkit", &["domain"]),
    ("xtask", &[]),
];

/// Libraries that stand for a responsibility, and the crates that carry it. Tests may use what they like.
const OWNED_LIBRARIES: &[(&str, &[&str], &str)] = &[
    ("sqlx", &["store", "testkit"], "SQL is the store's: add a method there"),
    ("maud", &["web"], "HTML is web's: return data and render it there"),
    ("axum", &["web"], "answering HTTP is web's"),
    ("utoipa", &["web"], "the API's description is web's"),
    ("getrandom", &["engine"], "randomness comes from engine's one random source, as an argument"),
    ("clap", &["dynowatch", "xtask"], "arguments are read by the binary"),
    ("toml", &["dynowatch"], "the configuration file is read by the binary"),
    ("anyhow", &["dynowatch", "testkit", "xtask"], "a library names its errors (thiserror)"),
];

/// Crates that are data and functions only.
const PURE: &[&str] = &["domain", "logplex"];

/// What a pure crate may not reach: a runtime, sockets, SQL, HTTP, TLS, random sources, the clock or the zone of the
/// machine, logging. A name ending in `*` stands for a family.
const IMPURE: &[&str] = &[
    "tokio*",
    "async-std",
    "smol",
    "mio",
    "socket2",
    "futures*",
    "sqlx*",
    "rusqlite",
    "libsqlite3-sys",
    "hyper*",
    "axum*",
    "http",
    "http-body*",
    "reqwest",
    "tower*",
    "h2",
    "rustls*",
    "ring",
    "rand",
    "rand_*",
    "getrandom",
    "fastrand",
    "chrono",
    "time",
    "iana-time-zone",
    "tracing*",
    "log",
    "libc",
    "rustix",
    "tempfile",
];

/// What nobody may bring in: one TLS stack, rustls on ring, and no C build besides SQLite's.
const FORBIDDEN: &[&str] = &["openssl-sys", "openssl", "aws-lc-sys", "aws-lc-rs", "native-tls"];

/// Asks cargo, then judges.
pub(crate) fn check() -> Result<Vec<Finding>> {
    let root = command::root();
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .context("cargo metadata --locked")?;
    let graph = Graph::from_metadata(&metadata)?;
    let mut findings = arrows(&graph);
    findings.extend(owned_libraries(&graph));
    findings.extend(forbidden(graph.packages.iter().map(String::as_str)));
    for name in PURE {
        let package = format!("dynowatch-{name}");
        let tree = command::output(command::cargo().args([
            "tree",
            "--locked",
            "--package",
            &package,
            // Procedural macros run in the compiler, not in the program.
            "--edges=normal,no-proc-macro",
            "--target=all",
            "--prefix=none",
            "--format={p}",
        ]))?;
        findings.extend(purity(name, &tree));
    }
    Ok(findings)
}

/// What the rules need of `cargo metadata`. Names of our crates are folder names (`engine`, not `dynowatch-engine`).
struct Graph {
    /// Our crates and what each links by normal and build dependencies.
    ours: BTreeMap<String, BTreeSet<String>>,
    /// Every package that any feature of any target brings in.
    packages: BTreeSet<String>,
}

impl Graph {
    fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let resolve = metadata.resolve.as_ref().context("cargo metadata gave no resolved graph")?;
        let name_of = |id| metadata[id].name.to_string();
        let mut ours = BTreeMap::new();
        for node in resolve.nodes.iter().filter(|node| metadata.workspace_members.contains(&node.id)) {
            let linked = node
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            let linked = linked.map(|dependency| folder_name(&name_of(&dependency.pkg)).to_owned()).collect();
            ours.insert(folder_name(&name_of(&node.id)).to_owned(), linked);
        }
        let packages = resolve.nodes.iter().map(|node| name_of(&node.id)).collect();
        Ok(Self { ours, packages })
    }
}

fn folder_name(package: &str) -> &str {
    package.strip_prefix("dynowatch-").unwrap_or(package)
}

fn arrows(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, linked) in &graph.ours {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| known == name) else {
            findings.push(Finding::new(
                name,
                "a crate without a place in the architecture",
                "draw its arrows in ARCHITECTURE.md and in ARROWS of xtask/src/tidy/graph.rs",
            ));
            continue;
        };
        for other in linked.iter().filter(|other| graph.ours.contains_key(*other)) {
            if other == "testkit" {
                findings.push(Finding::new(
                    name,
                    "links testkit into the product",
                    "move testkit to [dev-dependencies]",
                ));
            } else if !allowed.contains(&other.as_str()) {
                findings.push(Finding::new(
                    name,
                    format!("an arrow {name} -> {other} that the architecture does not have"),
                    "pass data in as an argument or move the code to the crate that may know both (ARCHITECTURE.md)",
                ));
            }
        }
    }
    findings
}

fn owned_libraries(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (library, owners, remedy) in OWNED_LIBRARIES {
        for (name, linked) in &graph.ours {
            if linked.contains(*library) && !owners.contains(&name.as_str()) {
                findings.push(Finding::new(name, format!("depends on {library}"), remedy));
            }
        }
    }
    findings
}

fn forbidden<'a>(packages: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    packages
        .filter(|package| FORBIDDEN.contains(package))
        .map(|package| {
            Finding::new(
                package,
                "is in the dependency tree",
                "find who brings it with `cargo tree -i` and turn that feature off; TLS is rustls on ring",
            )
        })
        .collect()
}

/// `tree`: lines of `cargo tree --prefix none`, each opening with a package's name.
fn purity(name: &str, tree: &str) -> Vec<Finding> {
    let reached: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    reached
        .into_iter()
        .filter(|package| is_impure(package))
        .map(|package| {
            Finding::new(
                name,
                format!("reaches {package}; {} are data and functions only", PURE.join(" and ")),
                "see `cargo tree -p dynowatch-... -e normal -i`; keep input and output in engine or the binary",
            )
        })
        .collect()
}

fn is_impure(package: &str) -> bool {
    IMPURE.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(family) => package.starts_with(family),
        None => package == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(crates: &[(&str, &[&str])]) -> Graph {
        let ours = crates
            .iter()
            .map(|(name, linked)| ((*name).to_owned(), linked.iter().map(|other| (*other).to_owned()).collect()));
        Graph { ours: ours.collect(), packages: BTreeSet::new() }
    }

    fn problems(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.problem)).collect()
    }

    #[test]
    fn planted_arrows_are_found() {
        let sound = graph(&[
            ("domain", &["serde"]),
            ("logplex", &["memchr"]),
            ("store", &["domain", "sqlx"]),
            ("engine", &["domain", "logplex", "store"]),
            ("web", &["domain", "engine", "store"]),
        ]);
        assert_eq!(problems(arrows(&sound)), Vec::<String>::new());

        let broken = graph(&[
            ("domain", &["logplex"]),
            ("logplex", &[]),
            ("store", &["domain", "testkit"]),
            ("testkit", &["domain"]),
            ("web", &["logplex"]),
            ("wizard", &[]),
        ]);
        assert_eq!(
            problems(arrows(&broken)),
            [
                "domain: an arrow domain -> logplex that the architecture does not have",
                "store: links testkit into the product",
                "web: an arrow web -> logplex that the architecture does not have",
                "wizard: a crate without a place in the architecture",
            ]
        );
    }

    #[test]
    fn libraries_stay_with_their_owners() {
        let broken = graph(&[("store", &["sqlx"]), ("engine", &["sqlx", "getrandom"]), ("notify", &["maud"])]);
        assert_eq!(problems(owned_libraries(&broken)), ["engine: depends on sqlx", "notify: depends on maud"]);
    }

    #[test]
    fn impure_crates_are_found_below_pure_ones() {
        let tree = "dynowatch-domain v0.1.0\nserde v1.0.0\nuuid v1.0.0\nregex v1.0.0 (*)\n";
        assert_eq!(problems(purity("domain", tree)), Vec::<String>::new());
        let tree = "dynowatch-logplex v0.1.0\ntokio-util v0.7.0\nrand_core v0.9.0\nrandomize v1.0.0\n";
        let found = problems(purity("logplex", tree));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("rand_core") && found[1].contains("tokio-util"), "{found:?}");
    }

    #[test]
    fn forbidden_packages_are_found() {
        assert_eq!(
            problems(forbidden(["ring", "openssl-sys"].into_iter())),
            ["openssl-sys: is in the dependency tree"]
        );
    }

    #[test]
    fn no_arrow_points_back() {
        // The table itself must stay a hierarchy: a crate knows only those listed before it.
        for (position, (name, allowed)) in ARROWS.iter().enumerate() {
            for other in *allowed {
                let below = ARROWS.iter().position(|(known, _)| known == other);
                assert!(below.is_some_and(|below| below < position), "{name} -> {other}");
            }
        }
    }
}
