//! Colours of `heroku logs`. On a terminal it paints the head of each line, and much of what the router, dynos and add-ons say,
//! with SGR sequences (`ESC [ 33 m`); what was copied or recorded from there still holds them. A line whose first byte is not
//! one of them was not painted: then colours in it are the app's own, and stay. What a drain brings never comes here.

use memchr::{memchr, memmem};

/// What an SGR sequence begins with.
const BEGIN: &[u8] = b"\x1b[";

/// Writes lines to `plain` without the colours that `heroku logs` gave them. Says whether there were any; if not, `plain` is
/// as it was.
pub(super) fn uncoloured(lines: &[u8], plain: &mut Vec<u8>) -> bool {
    if !lines.starts_with(BEGIN) && memmem::find(lines, b"\n\x1b[").is_none() {
        return false;
    }
    plain.clear();
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(BEGIN) {
            strip(line, plain);
        } else {
            plain.extend_from_slice(line);
        }
    }
    true
}

fn strip(line: &[u8], plain: &mut Vec<u8>) {
    let mut rest = line;
    while let Some((before, from)) = memchr(0x1b, rest).and_then(|at| rest.split_at_checked(at)) {
        plain.extend_from_slice(before);
        let length = sgr_length(from);
        if length == 0 {
            // Something else, such as a movement of the cursor: the line keeps it.
            plain.push(0x1b);
        }
        rest = from.get(length.max(1)..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
}

/// How long the SGR sequence at the start is; 0 for none.
fn sgr_length(bytes: &[u8]) -> usize {
    let Some(rest) = bytes.strip_prefix(BEGIN) else { return 0 };
    let numbers = rest.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':')).count();
    if rest.get(numbers) == Some(&b'm') { BEGIN.len() + numbers + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(lines: &str, want: Option<&str>) {
        let mut plain = b"old".to_vec();
        let had = uncoloured(lines.as_bytes(), &mut plain);
        let got = had.then(|| String::from_utf8(plain.clone()).unwrap());
        assert_eq!(got.as_deref(), want, "{lines:?}");
        assert!(had || plain == b"old", "{lines:?}");
    }

    #[test]
    fn painted_lines_lose_their_colours_and_no_more() {
        check("", None);
        check("2026 app[web.1]: plain\n", None);
        check("2026 app[web.1]: \u{1b}[31mthe app's own\u{1b}[39m\n", None);
        check("\u{1b}[33m2026 app[web.1]:\u{1b}[39m text\n", Some("2026 app[web.1]: text\n"));
        check("\u{1b}[1m\u{1b}[32ma\u{1b}[39m\u{1b}[22m\r\n", Some("a\r\n"));
        check("\u{1b}[38;5;208ma\u{1b}[38:2::1:2:3mb\u{1b}[mc", Some("abc"));
        check("one\n\u{1b}[36mtwo\u{1b}[0m\n\u{1b}[2Kthree\n", Some("one\ntwo\n\u{1b}[2Kthree\n"));
        check("\u{1b}[36mcut \u{1b}[3", Some("cut \u{1b}[3"));
        check("\u{1b}[36m\u{1b}\u{1b}]0;x", Some("\u{1b}\u{1b}]0;x"));
    }

    proptest! {
        /// Whatever was painted in front of it comes back as it was, if it held no colours itself.
        #[test]
        fn painting_is_undone(words in prop::collection::vec("[^\x1b\n]{0,12}", 1..8), colour in 0_u8..=255) {
            let painted: String = words.iter().map(|word| format!("\u{1b}[38;5;{colour}m{word}\u{1b}[39m")).collect();
            let mut plain = Vec::new();
            prop_assert!(uncoloured(painted.as_bytes(), &mut plain));
            prop_assert_eq!(String::from_utf8(plain).unwrap(), words.concat());
        }
    }
}
