//! Rules that a look at the files decides: where input and output may be, what tests may not do, how files open.

use super::Finding;
use super::source::{SourceFile, find_words};

/// Lines of a file without its tests. A longer file tells more than one story.
const FILE_LINES_MAX: usize = 700;

/// Crates that read the environment or files as their job.
const IO_CRATES: &[&str] = &["dynowatch", "testkit", "xtask"];

/// Files outside of them that write a file as their job, and nothing else.
const IO_FILES: &[&str] = &["crates/notify/src/log.rs"];

/// Built from halves, so that this file does not break its own rule.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("C:\\Us", "ers")];

/// All rules over all files.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        any_text(file, &mut findings);
        if file.path.ends_with("Cargo.toml") && file.path != "Cargo.toml" {
            manifest(file, &mut findings);
        }
        if file.is_rust() {
            opening(file, &mut findings);
            length(file, &mut findings);
            input_and_output(file, &mut findings);
            unfinished(file, &mut findings);
            allow_without_reason(file, &mut findings);
            test_habits(file, &mut findings);
        }
    }
    findings
}

fn any_text(file: &SourceFile, findings: &mut Vec<Finding>) {
    // Corpora and captured logs are other people's bytes.
    if file.path.starts_with("fuzz/corpus/") {
        return;
    }
    for machine_path in MACHINE_PATHS {
        for (at, _) in file.text.match_indices(machine_path) {
            findings.push(Finding::new(
                file.place(at),
                format!("`{machine_path}` is a place on somebody's machine"),
                "write a path relative to the repository, or a variable the user sets",
            ));
        }
    }
    for (number, line) in file.text.lines().enumerate() {
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            findings.push(Finding::new(
                format!("{}:{}", file.path, number + 1),
                "an unfinished merge",
                "finish the merge",
            ));
        }
    }
}

fn manifest(file: &SourceFile, findings: &mut Vec<Finding>) {
    // The fuzz package stands outside the workspace and has nothing to inherit from.
    if file.path.starts_with("fuzz/") {
        return;
    }
    let mut section = "";
    let mut lints_inherited = false;
    for (number, line) in file.text.lines().map(str::trim).enumerate() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[lints]" {
            lints_inherited |= line == "workspace = true";
        } else if section.ends_with("dependencies]")
            && !line.is_empty()
            && !line.starts_with('#')
            && !line.contains("workspace = true")
        {
            findings.push(Finding::new(
                format!("{}:{}", file.path, number + 1),
                format!("`{line}` chooses a version or a feature in a crate"),
                "declare it in the root Cargo.toml with its reason, and write `name.workspace = true` here",
            ));
        }
    }
    if !lints_inherited {
        findings.push(Finding::new(
            &file.path,
            "the workspace's lints do not apply to this crate",
            "add `[lints]` with `workspace = true`",
        ));
    }
}

fn opening(file: &SourceFile, findings: &mut Vec<Finding>) {
    if !file.text.starts_with("//! ") {
        findings.push(Finding::new(
            format!("{}:1", file.path),
            "the file does not open with `//!`",
            "say in a sentence or two what the module owns and what it leaves to others",
        ));
    }
}

fn length(file: &SourceFile, findings: &mut Vec<Finding>) {
    let code = file.production_code();
    // Tests at the end are blank lines here; they do not count, nor does what is empty anyway at the end.
    let lines = code.trim_end().lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(Finding::new(
            &file.path,
            format!("{lines} lines without its tests, over {FILE_LINES_MAX}"),
            "split it where one story ends and the next begins",
        ));
    }
}

fn input_and_output(file: &SourceFile, findings: &mut Vec<Finding>) {
    if IO_CRATES.contains(&file.crate_name()) {
        return;
    }
    let code = file.production_code();
    let writes_files = file.crate_name() == "store" || IO_FILES.contains(&file.path.as_str());
    let mut words = vec!["std::env", "env::var"];
    if !writes_files {
        words.extend(["std::fs", "tokio::fs", "File::open", "File::create"]);
    }
    let mut hits: Vec<(usize, &str)> =
        words.into_iter().flat_map(|word| find_words(&code, word).map(move |at| (at, word))).collect();
    for at in find_words(&code, "std::{") {
        let group = code[at..].split(';').next().unwrap_or_default();
        for (name, allowed) in [("env", false), ("fs", writes_files)] {
            if !allowed && find_words(group, name).any(|at| !continues(group, at + name.len())) {
                hits.push((at, if name == "env" { "std::env" } else { "std::fs" }));
            }
        }
    }
    for (at, word) in hits {
        findings.push(Finding::new(
            file.place(at),
            format!("`{word}` in crate {}", file.crate_name()),
            "only the binary reads files and the environment: take the value as an argument",
        ));
    }
}

/// Whether an identifier goes on at `at`.
fn continues(code: &str, at: usize) -> bool {
    code[at..].chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn unfinished(file: &SourceFile, findings: &mut Vec<Finding>) {
    let code = file.code();
    for word in ["todo!", "unimplemented!"] {
        for at in find_words(&code, word) {
            findings.push(Finding::new(
                file.place(at),
                format!("`{word}` ends the program of whoever meets it"),
                "finish it, or leave it out and return an error that says so",
            ));
        }
    }
}

fn allow_without_reason(file: &SourceFile, findings: &mut Vec<Finding>) {
    let code = file.code();
    for open in ["#[allow(", "#![allow("] {
        for (at, _) in code.match_indices(open) {
            let attribute = code[at..].split(']').next().unwrap_or_default();
            if !attribute.contains("reason =") {
                findings.push(Finding::new(
                    file.place(at),
                    "a lint is switched off without a reason",
                    "write `#[expect(lint, reason = \"...\")]`, which also tells when it is no longer needed",
                ));
            }
        }
    }
}

fn test_habits(file: &SourceFile, findings: &mut Vec<Finding>) {
    let code = file.code();
    for (at, _) in code.match_indices("#[ignore") {
        findings.push(Finding::new(
            file.place(at),
            "an ignored test proves nothing",
            "make it run everywhere (`cargo xtask test` brings the services), or delete it",
        ));
    }
    let test_code = if file.crate_name() == "testkit" { code } else { file.test_code() };
    // A bench lasts as long as it is told to: nothing is decided by when it wakes.
    let is_bench = file.path.contains("/benches/");
    for at in find_words(&test_code, "sleep(").filter(|_| !is_bench) {
        findings.push(Finding::new(
            file.place(at),
            "a test that sleeps is slow on a good day and wrong on a bad one",
            "move the clock, wait for the event itself, or pause tokio's time",
        ));
    }
    let tests_folder = format!("crates/{}/tests/", file.crate_name());
    if file.path.strip_prefix(&tests_folder).is_some_and(|rest| !rest.contains('/')) {
        findings.push(Finding::new(
            &file.path,
            "a second test program links the whole tree once more",
            "make it a module of tests/it/main.rs",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted violations: (path, text, what the finding must contain; "" for none).
    #[track_caller]
    fn judge(cases: &[(&str, &str, &str)]) {
        for (path, text, expected) in cases {
            let file = SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
            let problems: Vec<String> =
                check(&[file]).into_iter().map(|finding| format!("{}: {}", finding.place, finding.problem)).collect();
            match *expected {
                "" => assert_eq!(problems, Vec::<String>::new(), "{path}: {text}"),
                part => assert!(
                    problems.len() == 1 && problems[0].contains(part),
                    "{path}: {text}\nexpected {part:?}, found {problems:?}"
                ),
            }
        }
    }

    #[test]
    fn files_open_with_what_they_own() {
        judge(&[
            ("crates/domain/src/lib.rs", "//! Rules.\n", ""),
            ("crates/domain/src/lib.rs", "use std::fmt;\n", "lib.rs:1: the file does not open"),
            ("crates/domain/src/lib.rs", "/// Rules.\n", "does not open"),
        ]);
    }

    #[test]
    fn long_files_are_split_but_tests_are_not_counted() {
        let line = "const A: u8 = 0;\n";
        let long = format!("//! A.\n{}", line.repeat(FILE_LINES_MAX));
        let tested = format!("//! A.\n{line}#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(FILE_LINES_MAX));
        judge(&[
            ("crates/domain/src/a.rs", &long, "701 lines without its tests"),
            ("crates/domain/src/a.rs", &tested, ""),
            ("crates/domain/tests/it/a.rs", &long, ""),
        ]);
    }

    #[test]
    fn only_the_binary_reads_files_and_the_environment() {
        judge(&[
            ("crates/engine/src/a.rs", "//! A.\nuse std::env;\n", "a.rs:2: `std::env` in crate engine"),
            ("crates/engine/src/a.rs", "//! A.\nuse std::{fs, io};\n", "`std::fs` in crate engine"),
            ("crates/engine/src/a.rs", "//! A.\nuse std::{io, env::{self}};\n", "`std::env` in crate engine"),
            ("crates/engine/src/a.rs", "//! A.\nuse std::{fmt, offset};\n", ""),
            ("crates/engine/src/a.rs", "//! A. std::env\nconst A: &str = env!(\"CARGO_PKG_NAME\");\n", ""),
            ("crates/engine/src/a.rs", "//! A.\n#[cfg(test)]\nmod tests { use std::fs; }\n", ""),
            ("crates/store/src/a.rs", "//! A.\nuse std::fs;\n", ""),
            ("crates/store/src/a.rs", "//! A.\nuse std::{fs, env};\n", "`std::env` in crate store"),
            ("crates/dynowatch/src/a.rs", "//! A.\nuse std::{fs, env};\n", ""),
        ]);
    }

    #[test]
    fn nothing_is_left_unfinished() {
        judge(&[
            ("crates/web/src/a.rs", "//! A.\nfn a() { todo!() }\n", "a.rs:2: `todo!`"),
            ("crates/web/src/a.rs", "//! A.\nfn a() { f(\"todo!\") } // todo!\n", ""),
            ("crates/web/src/a.rs", "//! A.\n#[allow(dead_code)]\nfn a() {}\n", "without a reason"),
            ("crates/web/src/a.rs", "//! A.\n#[allow(dead_code, reason = \"x\")]\nfn a() {}\n", ""),
            ("docs/a.md", concat!("see /wo", "rk/notes.md\n"), "a.md:1: `/wo"),
            ("docs/a.md", "a\n>>>>>>> other\n", "a.md:2: an unfinished merge"),
        ]);
    }

    #[test]
    fn tests_run_always_and_never_sleep() {
        let ignored = "//! A.\n#[cfg(test)]\nmod tests {\n    #[test]\n    #[ignore = \"slow\"]\n    fn a() {}\n}\n";
        judge(&[
            ("crates/web/src/a.rs", ignored, "a.rs:5: an ignored test"),
            ("crates/web/tests/it/a.rs", "//! A.\nfn a() { tokio::time::sleep(d) }\n", "a.rs:2: a test that sleeps"),
            ("crates/web/src/a.rs", "//! A.\n#[cfg(test)]\nmod t { fn a() { sleep(1) } }\n", "that sleeps"),
            ("crates/engine/src/a.rs", "//! A.\nasync fn a() { tokio::time::sleep(d).await }\n", ""),
            ("crates/engine/benches/a.rs", "//! A.\nasync fn a() { tokio::time::sleep(d).await }\n", ""),
            ("crates/web/tests/drain.rs", "//! A.\n", "a second test program"),
            ("crates/web/tests/it/main.rs", "//! A.\n", ""),
        ]);
    }

    #[test]
    fn crates_inherit_versions_and_lints() {
        judge(&[
            ("crates/web/Cargo.toml", "[lints]\nworkspace = true\n[dependencies]\nbytes.workspace = true\n", ""),
            (
                "crates/web/Cargo.toml",
                "[lints]\nworkspace = true\n[dev-dependencies]\nbytes = \"1\"\n",
                "Cargo.toml:4: `bytes = \"1\"` chooses",
            ),
            ("crates/web/Cargo.toml", "[dependencies]\n", "lints do not apply"),
        ]);
    }
}
