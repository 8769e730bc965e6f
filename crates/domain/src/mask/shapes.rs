//! Where secrets begin: one regex of all leads, and per lead the decision what of the text behind it is secret.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::values;

/// The alternatives, each a group of its own; the first that fits at a place decides. Constant texts: that they compile
/// is proven by every test of this module; should they not, all text is masked.
static LEADS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // Between a key and its value: `=`, `:`, `=>`, a quote that closes the key, JSON inside JSON, URL-encoding.
    let separator = r#"(?:\\*["'])?\]?[ \t]*(?:=>|[:=]|%3[dD])[ \t]*"#;
    let suffix = r"(?:s|[_.\-][\w.\-]*|(?-i:[A-Z0-9])\w*)?";
    let strong = r"passw(?:or)?d|passwd|passphrase|passcode|\bpass|\bpwd|_pwd|secret|api[_\- ]?key|access[_\-]?key|private[_\-]?key|credential|\botp|\bcvv";
    let weak_suffix = r"(?:[_\-]?(?:id|key|value|hash|prod|production|live|test|staging|dev|\d+))*";
    let weak = r"token|session|\bauth|csrf|connect\.sid|signature";
    let alternatives = [
        r"(?P<pem>-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----)".to_owned(),
        // A line in the middle of a private key, when its lines come one by one.
        r"(?P<pem_line>\b[A-Za-z0-9+/]{64}$)".to_owned(),
        r"(?P<hook>hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/)".to_owned(),
        r"(?P<url>(?i:[a-z][a-z0-9+.\-]{1,20})://)".to_owned(),
        format!(r"(?P<authorization>(?i:authorization){separator})"),
        format!(r"(?P<cookie>(?i:cookies?){separator})"),
        format!(r"(?P<strong>(?i:(?:{strong}){suffix}){separator})"),
        format!(r"(?P<weak>(?i:(?:{weak}){weak_suffix}){separator})"),
        r"(?P<flag>--(?i:[\w\-]*(?:password|passwd|token|secret|api-?key))[ \t]+)".to_owned(),
        r"(?P<scheme>\b(?i:bearer|basic)[ \t]+)".to_owned(),
        r"(?P<heroku_key>(?i:heroku[ _\-]?(?:api[ _\-]?)?(?:key|token))[ \t:='\x22]{1,3}(?:is )?)".to_owned(),
        format!("(?P<whole>{})", WHOLE.join("|")),
    ];
    // ASCII: no secret's name or shape needs Unicode, and its tables would make the program a hundred times bigger.
    Regex::new(&format!("(?m-u){}", alternatives.join("|"))).ok()
});

/// Shapes that are secret from end to end. They need no boundary before them: a secret glued to a word is one still.
const WHOLE: &[&str] = &[
    r"eyJ[\w\-]{5,}\.[\w\-]{5,}(?:\.[\w\-]*)?",                 // JSON web tokens
    r"(?:AKIA|ASIA)[A-Z0-9]{16,}",                              // AWS
    r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}",           // GitHub
    r"glpat-[\w\-]{16,}",                                       // GitLab
    r"xox[abeoprs]-[\w\-]{8,}|xapp-[\w\-]{8,}",                 // Slack
    r"(?:sk|rk)_(?:live|test)_\w{8,}|whsec_[\w+/=]{8,}",        // Stripe
    r"dw_[0-9a-f]{64}",                                         // our own API tokens
    r"/ping/[0-9a-f]{32}",                                      // where a job reports to us
    r"HRKU-[\w\-]{16,}",                                        // Heroku
    r"SG\.[\w\-]{16,32}\.[\w\-]{32,}",                          // SendGrid
    r"AIza[\w\-]{30,}|ya29\.[\w\-]{16,}",                       // Google
    r"npm_[A-Za-z0-9]{30,}|pypi-[\w\-]{32,}",                   // package registries
    r"\bsk-(?:[a-z]+-)*[A-Za-z0-9_]{20,}|shp(?:at|ss)_\w{16,}", // OpenAI and kin, Shopify
];

/// The next secret at or after `from`.
pub(super) fn next(text: &str, mut from: usize) -> Option<Range<usize>> {
    // Without leads nothing is known to be harmless.
    let Some(leads) = LEADS.as_ref() else {
        return (from < text.len()).then_some(from..text.len());
    };
    while let Some(found) = leads.captures_at(text, from) {
        let lead = found.get(0)?;
        if let Some(secret) = secret(text, &found, lead.range()) {
            return Some(secret);
        }
        from = lead.end().max(from + 1);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        if from > text.len() {
            return None;
        }
    }
    None
}

fn secret(text: &str, found: &Captures<'_>, lead: Range<usize>) -> Option<Range<usize>> {
    let is = |name| found.name(name).is_some();
    let range = if is("whole") {
        lead
    } else if is("pem_line") {
        values::is_mixed(text.get(lead.clone())?).then_some(lead)?
    } else if is("pem") {
        lead.start..values::pem_end(text, lead.end)
    } else if is("hook") {
        lead.end..values::run_end(text, lead.end, |c| c.is_ascii_alphanumeric() || "/+-_".contains(c))
    } else if is("url") {
        values::userinfo(text, lead.end)?
    } else if is("authorization") {
        values::authorization(text, lead)?
    } else if is("cookie") {
        values::header(text, lead)?
    } else if is("strong") {
        values::of_key(text, lead.end, values::Trust::AnyValue)?
    } else if is("weak") {
        let prose = text.get(lead.clone())?.trim_end_matches(['"', '\'', '\\']).ends_with(": ");
        values::of_key(text, lead.end, if prose { values::Trust::Random } else { values::Trust::NotANumber })?
    } else if is("flag") {
        values::of_key(text, lead.end, values::Trust::AnyValue)?
    } else if is("scheme") {
        values::random_word(text, lead.end)?
    } else {
        values::uuid(text, lead.end)?
    };
    (!range.is_empty()).then_some(range)
}

/// Whether the whole of `text` is, or holds, a secret by itself.
pub(super) fn holds_secret(text: &str) -> bool {
    next(text, 0).is_some()
}
