//! Badges: one word about a check as a small picture, for a README or a wall. A pure function from words to SVG: no
//! script, no style sheet, nothing loaded from elsewhere, every character escaped. What it says it says in words, so that
//! nobody must tell colours apart.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dynowatch_domain::check::state::Shown;
use dynowatch_domain::check::uptime::{Spent, Standing};
use dynowatch_engine::checks::operate::CheckProblem;

use crate::auth::may_read;
use crate::cached::Cached;
use crate::router::Web;

/// An answer is good for this long, here and wherever it is kept.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// Days that uptime may be asked for.
const DAYS: [(&str, u64); 3] = [("7d", 7), ("30d", 30), ("90d", 90)];
/// At least so many per mille of the time: well, not so well.
const WELL_PER_MILLE: (u64, u64) = (995, 950);

/// What badges said a moment ago: by check and by days of uptime, none for its state.
pub(crate) type Badges = Cached<(String, Option<u64>), (String, Tone)>;

/// Nothing said yet.
pub(crate) fn badges() -> Badges {
    Cached::new(GOOD_FOR / 3)
}

/// The longest side, in characters; a name has at most a hundred bytes.
const CHARS_MAX: usize = 60;
/// Room beside a text, in pixels.
const PADDING: usize = 6;
/// What a character takes where its width is not known, in tenths of a pixel.
const WIDE: usize = 75;

/// How the word is coloured; white on each has a contrast of 4.9 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// All is well.
    Up,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Down,
    /// Planned.
    Maintenance,
    /// Nobody can say.
    Unknown,
}

impl Tone {
    fn colour(self) -> &'static str {
        match self {
            Self::Up => "#1a7f37",
            Self::Degraded => "#9a6700",
            Self::Down => "#cf222e",
            Self::Maintenance => "#0969da",
            Self::Unknown => "#57606a",
        }
    }
}

/// `/badge/checks/NAME.svg`, and with `?uptime=30d` its uptime. For everyone where the check is marked public, else for
/// those who may read; to all others it is as if there were no such check.
pub(crate) async fn check(State(web): State<Arc<Web>>, Path(file): Path<String>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let Some(name) = file.strip_suffix(".svg") else { return nothing() };
    let Some(check) = web.engine.check_book().checks.get(name).cloned() else { return nothing() };
    if !check.public && !may_read(&web, &parts).await.unwrap_or(false) {
        return nothing();
    }
    let days = match days(parts.uri.query()) {
        Ok(days) => days,
        Err(()) => {
            return answer(StatusCode::BAD_REQUEST, badge("uptime", "write 7d, 30d or 90d", Tone::Unknown), false);
        }
    };
    let label = days.map_or_else(|| name.to_owned(), |days| format!("{name} uptime {days}d"));
    let said = web.badges.get((name.to_owned(), days), web.engine.now(), word(&web, name, days)).await;
    match said {
        Ok(said) => answer(StatusCode::OK, badge(&label, &said.0, said.1), check.public),
        Err(CheckProblem::NoCheck { .. }) => nothing(),
        Err(CheckProblem::Store(error)) => {
            tracing::warn!(%error, "a badge could not be drawn");
            answer(StatusCode::SERVICE_UNAVAILABLE, badge(&label, "unknown", Tone::Unknown), false)
        }
    }
}

fn days(query: Option<&str>) -> Result<Option<u64>, ()> {
    let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("uptime="));
    let Some(asked) = asked else { return Ok(None) };
    DAYS.iter().find(|(name, _)| *name == asked).map(|(_, days)| Some(*days)).ok_or(())
}

async fn word(web: &Web, name: &str, days: Option<u64>) -> Result<(String, Tone), CheckProblem> {
    let now = web.engine.now();
    let uptime = web.engine.check_uptime(name, now - Duration::from_secs(days.unwrap_or(1) * 86_400), now).await?;
    if days.is_some() {
        return Ok((uptime.spent.show(), tone(&uptime.spent)));
    }
    let status = web.engine.check_status(name).await?;
    let said = match status.row {
        _ if status.check.paused => ("paused", Tone::Unknown),
        None => ("no result yet", Tone::Unknown),
        Some(row) if row.paused.is_some() => ("paused", Tone::Unknown),
        // Whatever it was, nobody has looked since.
        Some(row) if uptime.known_until < now && row.shown != Shown::Maintenance => ("unknown", Tone::Unknown),
        Some(row) => state(row.shown, row.state.flip().map(|flip| flip.standing)),
    };
    Ok((said.0.to_owned(), said.1))
}

fn state(shown: Shown, counts_as: Option<Standing>) -> (&'static str, Tone) {
    match shown {
        Shown::New => ("no result yet", Tone::Unknown),
        Shown::Up => ("up", Tone::Up),
        Shown::Degraded => ("degraded", Tone::Degraded),
        Shown::Flapping => ("flapping", Tone::Degraded),
        Shown::Down => ("down", Tone::Down),
        Shown::Maintenance => ("maintenance", Tone::Maintenance),
        Shown::Paused => ("paused", Tone::Unknown),
        Shown::Unknown | Shown::Blind | Shown::Misconfigured => ("unknown", Tone::Unknown),
        // Not yet confirmed: what it counts as until then.
        Shown::Suspect | Shown::Recovering => match counts_as {
            Some(Standing::Up) => ("up", Tone::Up),
            Some(Standing::Degraded) => ("degraded", Tone::Degraded),
            Some(Standing::Down) => ("down", Tone::Down),
            _ => ("unknown", Tone::Unknown),
        },
    }
}

fn tone(spent: &Spent) -> Tone {
    let (well, not_so_well) = WELL_PER_MILLE;
    match spent.uptime(2) {
        None => Tone::Unknown,
        Some(percent) if percent.is_at_least(well) => Tone::Up,
        Some(percent) if percent.is_at_least(not_so_well) => Tone::Degraded,
        Some(_) => Tone::Down,
    }
}

/// There is no such check, or none that whoever asks may know of.
fn nothing() -> Response {
    answer(StatusCode::NOT_FOUND, badge("check", "not found", Tone::Unknown), true)
}

fn answer(status: StatusCode, svg: String, public: bool) -> Response {
    let kept = if public { "public, max-age=30" } else { "no-store" };
    // What everyone may see may be shown on other people's pages.
    let whose = if public { "cross-origin" } else { "same-origin" };
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml; charset=utf-8"),
        (header::CACHE_CONTROL, kept),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), whose),
    ];
    (status, headers, svg).into_response()
}

/// The picture: what it is about, on grey, and the word.
pub(crate) fn badge(label: &str, word: &str, tone: Tone) -> String {
    let (label, word) = (shown(label), shown(word));
    let (left, right) = (width(&label), width(&word));
    let (left_box, right_box) = (left + 2 * PADDING, right + 2 * PADDING);
    let all = left_box + right_box;
    let (label_text, word_text) = (escaped(&label), escaped(&word));
    let colour = tone.colour();
    let word_at = left_box + PADDING;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"20\" viewBox=\"0 0 {all} 20\" role=\"img\" \
         aria-label=\"{label_text}: {word_text}\"><title>{label_text}: {word_text}</title>"
    );
    // Writing to a String does not fail.
    let _written = write!(
        svg,
        "<rect width=\"{all}\" height=\"20\" rx=\"3\" fill=\"{colour}\"/>\
         <path d=\"M3 0h{rest}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z\" fill=\"#24292f\"/>\
         <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\" aria-hidden=\"true\">\
         <text x=\"{PADDING}\" y=\"14\" textLength=\"{left}\" lengthAdjust=\"spacingAndGlyphs\">{label_text}</text>\
         <text x=\"{word_at}\" y=\"14\" textLength=\"{right}\" lengthAdjust=\"spacingAndGlyphs\">{word_text}</text></g></svg>",
        rest = left_box - 3,
    );
    svg
}

/// Cut to what fits, and without what XML cannot hold or nobody sees.
fn shown(text: &str) -> String {
    let text = crate::show::visible(text);
    let mut shown: String =
        text.chars().filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}')).take(CHARS_MAX + 1).collect();
    if shown.chars().count() > CHARS_MAX {
        shown = shown.chars().take(CHARS_MAX - 1).chain(['…']).collect();
    }
    if shown.is_empty() { "-".to_owned() } else { shown }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// About how wide a text is in Verdana of 11 pixels; `textLength` makes it true with any font.
fn width(text: &str) -> usize {
    let tenths = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ' ' | '\'' | '|' => 40,
        'f' | 'r' | 't' | '-' | '/' | 'I' => 48,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 107,
        'a'..='z' | '_' => 66,
        'A'..='Z' | '0'..='9' => WIDE,
        _ if c.is_ascii() => WIDE,
        _ => 2 * WIDE,
    };
    text.chars().map(tenths).sum::<usize>().div_ceil(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TONES: [Tone; 5] = [Tone::Up, Tone::Degraded, Tone::Down, Tone::Maintenance, Tone::Unknown];

    /// Reads the picture as an XML parser would: tags that nest, attributes in quotes, no stray `<` or `&`.
    #[track_caller]
    fn is_sound(svg: &str) {
        let (mut open, mut rest) = (Vec::new(), svg.trim_end());
        while let Some((text, tag)) = rest.split_once('<') {
            for after in text.split('&').skip(1) {
                let name = after.split_once(';').map(|(name, _)| name);
                assert!(matches!(name, Some("amp" | "lt" | "gt" | "quot" | "#39")), "{text}");
            }
            let (tag, after) = tag.split_once('>').unwrap();
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{svg}");
                continue;
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name = tag.split(' ').next().unwrap();
            assert!(["svg", "title", "rect", "path", "g", "text"].contains(&name), "{name} in {svg}");
            let names: String = tag.split('"').step_by(2).collect();
            assert!(!names.contains(" on") && !names.contains("href") && !names.contains("style"), "{tag}");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty() && rest.is_empty(), "{svg}");
        let fits = |c: char| c == '\n' || (c >= ' ' && !matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'));
        assert!(svg.chars().all(fits), "{svg:?}");
        assert!(svg.len() < 4_000, "{} bytes", svg.len());
    }

    #[test]
    fn whatever_a_name_holds_the_picture_is_sound() {
        let long = "x".repeat(10_000);
        for label in [
            "shop",
            "",
            "<script>alert(1)</script>",
            "\"><svg onload=x>",
            "a&b;'c",
            "\u{0}\u{1b}[31m\u{202e}gpj",
            "日本",
            "\u{ffff}",
            &long,
        ] {
            for tone in TONES {
                is_sound(&badge(label, "up", tone));
                is_sound(&badge("shop", label, tone));
            }
        }
    }

    #[test]
    fn it_says_in_words_what_it_shows() {
        let svg = badge("shop-web", "99.95 %", Tone::Up);
        for part in [
            "role=\"img\" aria-label=\"shop-web: 99.95 %\"",
            "<title>shop-web: 99.95 %</title>",
            ">shop-web</text>",
            ">99.95 %</text>",
            "#1a7f37",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert_eq!(svg, badge("shop-web", "99.95 %", Tone::Up));
        assert!(badge(&"x".repeat(61), "up", Tone::Up).contains(&format!("<title>{}…: up", "x".repeat(59))));
    }
}
