//! `cargo xtask tidy`: the rules of the code base as code. Each finding says where, what, and what to do instead.
//!
//! `graph` judges who depends on whom, `text` judges the files, `source` tells code from comments, literals and
//! tests. What rustc, rustfmt or clippy can hold stays with them.

mod graph;
mod source;
mod text;

use std::process::ExitCode;

use anyhow::Result;

use crate::command;

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// A file with its line, or a crate.
    place: String,
    problem: String,
    remedy: &'static str,
}

impl Finding {
    fn new(place: impl Into<String>, problem: impl Into<String>, remedy: &'static str) -> Self {
        Self { place: place.into(), problem: problem.into(), remedy }
    }
}

/// Judges the workspace as it lies on disk.
pub(crate) fn run() -> Result<ExitCode> {
    let root = command::root();
    let files = source::read_tree(&root)?;
    let mut findings = text::check(&files);
    findings.extend(graph::check()?);
    findings.sort();

    for finding in &findings {
        println!("{}: {}\n    remedy: {}", finding.place, finding.problem, finding.remedy);
    }
    if findings.is_empty() {
        println!("xtask: tidy, {} files", files.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("xtask: {} findings in {} files", findings.len(), files.len());
    Ok(ExitCode::FAILURE)
}
