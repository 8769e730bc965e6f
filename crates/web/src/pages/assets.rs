//! Style, scripts and the icon, under names that change with their content, so that a browser asks once. Everything is
//! in the binary; scripts of others lie unchanged in `assets/vendor`, and a test holds them against their checksums.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::error::PageError;
use crate::compress::takes_gzip;

struct Asset {
    url: String,
    content_type: &'static str,
    plain: Bytes,
    zipped: Bytes,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The icon, as it also stands in the head of each page.
pub(super) const ICON_SVG: &str = include_str!("../../assets/icon.svg");

/// htmx with its extension for server-sent events behind it in one file: apart from each other, htmx may have looked for
/// connections before the extension arrives, and then there are none.
const HTMX: &[&str] =
    &[include_str!("../../assets/vendor/htmx-4.0.1.min.js"), include_str!("../../assets/vendor/hx-sse-4.0.1.min.js")];
const UPLOT: &[&str] = &[include_str!("../../assets/vendor/uplot-1.6.32.min.js")];
const UPLOT_STYLE: &str = include_str!("../../assets/vendor/uplot-1.6.32.min.css");
const CONSOLE: &[&str] = &[
    include_str!("../../assets/console.js"),
    include_str!("../../assets/live.js"),
    include_str!("../../assets/tail.js"),
    include_str!("../../assets/keyboard.js"),
];

static CONSOLE_CSS: LazyLock<Asset> = LazyLock::new(|| {
    let parts = [
        include_str!("../../assets/base.css"),
        include_str!("../../assets/parts.css"),
        include_str!("../../assets/console.css"),
        include_str!("../../assets/tail.css"),
        UPLOT_STYLE,
        include_str!("../../assets/chart.css"),
    ];
    asset("console", "css", STYLE, &parts)
});
static ICON: LazyLock<Asset> = LazyLock::new(|| asset("icon", "svg", "image/svg+xml", &[ICON_SVG]));
static HTMX_JS: LazyLock<Asset> = LazyLock::new(|| asset("htmx", "js", SCRIPT, HTMX));
static CONSOLE_JS: LazyLock<Asset> = LazyLock::new(|| asset("console", "js", SCRIPT, CONSOLE));
static UPLOT_JS: LazyLock<Asset> = LazyLock::new(|| asset("uplot", "js", SCRIPT, UPLOT));
static CHART_JS: LazyLock<Asset> =
    LazyLock::new(|| asset("chart", "js", SCRIPT, &[include_str!("../../assets/chart.js")]));

fn all() -> [&'static Asset; 6] {
    [&CONSOLE_CSS, &ICON, &HTMX_JS, &CONSOLE_JS, &UPLOT_JS, &CHART_JS]
}

fn asset(name: &str, extension: &str, content_type: &'static str, parts: &[&str]) -> Asset {
    let content = parts.join("\n");
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(content.as_bytes()));
    let short = hash.get(..16).unwrap_or(&hash);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let zipped = gzip.write_all(content.as_bytes()).and_then(|()| gzip.finish());
    Asset {
        url: format!("/assets/{name}-{short}.{extension}"),
        content_type,
        // Writing to memory does not fail; if it ever did, the plain form is still right.
        zipped: zipped.map(Bytes::from).unwrap_or_default(),
        plain: content.into(),
    }
}

pub(super) fn style_url() -> &'static str {
    &CONSOLE_CSS.url
}

pub(super) fn icon_url() -> &'static str {
    &ICON.url
}

/// The scripts of a page, in the order they must run in. Only pages with charts load the two for charts.
pub(super) fn script_urls(charts: bool) -> impl Iterator<Item = &'static str> {
    let scripts: [(&'static Asset, bool); 4] =
        [(&HTMX_JS, true), (&CONSOLE_JS, true), (&UPLOT_JS, charts), (&CHART_JS, charts)];
    scripts.into_iter().filter(|(_, wanted)| *wanted).map(|(asset, _)| asset.url.as_str())
}

/// One of them, for good.
pub(crate) async fn file(file: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    let file = file.map(|Path(file)| file).unwrap_or_default();
    let found = all().into_iter().find(|asset| asset.url.strip_prefix("/assets/") == Some(file.as_str()));
    let Some(asset) = found else { return PageError::not_found("There is no such file.").into_response() };
    let kept = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    if takes_gzip(&headers) && !asset.zipped.is_empty() {
        return (kept, [(header::CONTENT_ENCODING, "gzip")], asset.zipped.clone()).into_response();
    }
    (kept, asset.plain.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts of others are what their publishers published.
    #[test]
    fn vendored_files_are_unchanged() {
        let files: [(&str, &str); 6] = [
            ("htmx-4.0.1.min.js", HTMX[0]),
            ("hx-sse-4.0.1.min.js", HTMX[1]),
            ("uplot-1.6.32.min.js", UPLOT[0]),
            ("uplot-1.6.32.min.css", UPLOT_STYLE),
            ("htmx-4.0.1.LICENSE", include_str!("../../assets/vendor/htmx-4.0.1.LICENSE")),
            ("uplot-1.6.32.LICENSE", include_str!("../../assets/vendor/uplot-1.6.32.LICENSE")),
        ];
        let sums = include_str!("../../assets/vendor/SHA256SUMS");
        assert_eq!(sums.lines().count(), files.len());
        for (name, content) in files {
            let sum = data_encoding::HEXLOWER.encode(&Sha256::digest(content.as_bytes()));
            assert!(sums.contains(&format!("{sum}  {name}\n")), "{name} is {sum}");
        }
    }

    /// The budget of scripts: 60 KB compressed in all.
    #[test]
    fn scripts_are_small() {
        let zipped: usize = [&HTMX_JS, &CONSOLE_JS, &UPLOT_JS, &CHART_JS].map(|asset| asset.zipped.len()).iter().sum();
        assert!(zipped <= 60 * 1024, "{zipped} bytes");
    }
}
