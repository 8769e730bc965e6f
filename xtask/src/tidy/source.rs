//! The files of the workspace, and which part of a Rust file is code, which is test.
//!
//! Not a parser: comments and literals are blanked out byte by byte, so that what is left can be searched for words
//! and its braces counted, and every offset still leads to the right line.

use std::path::Path;

use anyhow::{Context, Result};

/// Folders that hold nothing we wrote. In a linked worktree `.git` is a file.
const SKIPPED_FOLDERS: &[&str] = &["target", ".git", "node_modules"];

/// One text file of the workspace.
pub(crate) struct SourceFile {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The folder name of the crate: `engine` for `crates/engine/src/lib.rs`, `xtask` for `xtask/src/main.rs`.
    pub(crate) fn crate_name(&self) -> &str {
        let path = self.path.strip_prefix("crates/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or(path)
    }

    /// Whether the whole file is test, bench or fuzz code.
    pub(crate) fn is_test_file(&self) -> bool {
        let mut folders: Vec<&str> = self.path.split('/').collect();
        let name = folders.pop().unwrap_or_default();
        let stem = name.trim_end_matches(".rs");
        stem == "tests"
            || stem.ends_with("_tests")
            || folders.iter().any(|folder| ["tests", "benches", "fuzz"].contains(folder))
    }

    /// The code without comments and without the contents of literals; same length, same lines.
    pub(crate) fn code(&self) -> String {
        blank_comments_and_literals(&self.text)
    }

    /// [`Self::code`] without the items under `#[cfg(test)]`; empty for a test file.
    pub(crate) fn production_code(&self) -> String {
        if self.is_test_file() { String::new() } else { split_tests(&self.code()).0 }
    }

    /// The rest: what runs only in tests.
    pub(crate) fn test_code(&self) -> String {
        if self.is_test_file() { self.code() } else { split_tests(&self.code()).1 }
    }

    /// `path:line` of a byte offset.
    pub(crate) fn place(&self, offset: usize) -> String {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

/// Every text file below `root`, in a fixed order. Files with a NUL or without UTF-8 are data, not text.
pub(crate) fn read_tree(root: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if SKIPPED_FOLDERS.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).with_context(|| entry.path().display().to_string())?;
                let Ok(text) = String::from_utf8(bytes) else {
                    continue;
                };
                if text.contains('\0') {
                    continue;
                }
                let path = entry.path();
                let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                files.push(SourceFile { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Offsets where `word` stands in `code` and does not continue an identifier before it.
pub(crate) fn find_words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn blank_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let skipped = comment_length(rest)
            .or_else(|| if continues_identifier(bytes, at) { None } else { raw_string_length(rest) })
            .or_else(|| string_length(rest))
            .or_else(|| char_length(rest));
        match skipped {
            Some(length) => {
                let end = (at + length).min(bytes.len());
                out.extend(bytes[at..end].iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }));
                at = end;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn continues_identifier(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn comment_length(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    Some(at)
}

/// `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`.
fn raw_string_length(rest: &[u8]) -> Option<usize> {
    let prefix = match rest {
        [b'r', ..] => 1,
        [b'b' | b'c', b'r', ..] => 2,
        _ => return None,
    };
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    let start = prefix + hashes;
    if rest.get(start) != Some(&b'"') {
        return None;
    }
    let closing = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[start + 1..];
    let end = body.windows(closing.len()).position(|window| window == closing);
    Some(end.map_or(rest.len(), |end| start + 1 + end + closing.len()))
}

fn string_length(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    Some(rest.len())
}

/// A character literal, told apart from a lifetime by its closing quote.
fn char_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\'', b'\\', ..] => {
            let end = rest.iter().skip(3).position(|&byte| byte == b'\'')?;
            Some(3 + end + 1)
        }
        [b'\'', first, ..] => {
            let width = match first {
                0x00..0x80 => 1,
                0x80..0xE0 => 2,
                0xE0..0xF0 => 3,
                _ => 4,
            };
            (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
        }
        _ => None,
    }
}

/// (production, test): each keeps the lines of the other as blanks.
fn split_tests(code: &str) -> (String, String) {
    let mut is_test = vec![false; code.len()];
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]").map(|found| from + found) {
        let end = item_end(code, at);
        is_test[at..end].fill(true);
        from = end;
    }
    let keep = |wanted: bool| -> String {
        let bytes =
            code.bytes().zip(&is_test).map(|(byte, &test)| if test == wanted || byte == b'\n' { byte } else { b' ' });
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
    };
    (keep(false), keep(true))
}

/// Where the item that starts at `at` ends: its `;`, or the brace that closes its first one.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return offset + 1;
                }
            }
            b';' if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        for (text, code) in [
            ("a // todo!\nb", "a b"),
            ("a /* x /* y */ z */ b", "a b"),
            (r#"f("sleep(\" 1)") + g"#, "f( ) + g"),
            (r##"f(r#"a " b"#) + g"##, "f( ) + g"),
            ("f(b'\"', '\\'', 'a')", "f(b , , )"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("'ä' + b", "+ b"),
            ("for\"x\"", "for"),
        ] {
            let blanked = blank_comments_and_literals(text);
            assert_eq!(blanked.split_whitespace().collect::<Vec<_>>().join(" "), code, "{text}");
            assert_eq!(blanked.len(), text.len(), "{text}");
        }
    }

    #[test]
    fn items_under_cfg_test_are_apart() {
        let source = file(
            "crates/domain/src/window.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { let s = \"}\"; } }\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}\n",
        );
        let (production, test) = (source.production_code(), source.test_code());
        for (name, is_production) in
            [("fn a", true), ("fn b", false), ("fn c", true), ("mod more", false), ("fn d", true)]
        {
            assert_eq!(production.contains(name), is_production, "{name}");
            assert_eq!(test.contains(name), !is_production, "{name}");
        }
        assert_eq!(production.lines().count(), 7);
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        for (path, is_test) in [
            ("crates/store/tests/it/main.rs", true),
            ("crates/domain/benches/windows.rs", true),
            ("crates/web/src/drain/tests.rs", true),
            ("crates/web/src/drain/window_tests.rs", true),
            ("xtask/src/test.rs", false),
            ("crates/testkit/src/lib.rs", false),
        ] {
            assert_eq!(file(path, "").is_test_file(), is_test, "{path}");
        }
        assert_eq!(file("crates/store/src/lib.rs", "").crate_name(), "store");
        assert_eq!(file("xtask/src/main.rs", "").crate_name(), "xtask");
    }

    #[test]
    fn a_word_does_not_continue_another() {
        let hits: Vec<usize> = find_words("mystd::env std::env (std::env)", "std::env").collect();
        assert_eq!(hits, [11, 21]);
    }
}
