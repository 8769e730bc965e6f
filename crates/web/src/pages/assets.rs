//! The style sheet and the icon, under names that change with their content, so that a browser asks once.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::PageError;

struct Asset {
    url: String,
    content_type: &'static str,
    content: &'static str,
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| asset("console", "css", "text/css; charset=utf-8", include_str!("../../assets/console.css")));
static ICON: LazyLock<Asset> = LazyLock::new(|| asset("icon", "svg", "image/svg+xml", ICON_SVG));

/// The icon, as it also stands in the head of each page.
pub(super) const ICON_SVG: &str = include_str!("../../assets/icon.svg");

fn asset(name: &str, extension: &str, content_type: &'static str, content: &'static str) -> Asset {
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(content.as_bytes()));
    let short = hash.get(..16).unwrap_or(&hash);
    Asset { url: format!("/assets/{name}-{short}.{extension}"), content_type, content }
}

pub(super) fn style_url() -> &'static str {
    &STYLE.url
}

pub(super) fn icon_url() -> &'static str {
    &ICON.url
}

/// One of them, for good.
pub(crate) async fn file(file: Result<Path<String>, PathRejection>) -> Response {
    let file = file.map(|Path(file)| file).unwrap_or_default();
    let found = [&*STYLE, &*ICON].into_iter().find(|asset| asset.url.strip_prefix("/assets/") == Some(file.as_str()));
    match found {
        Some(asset) => (
            [
                (header::CONTENT_TYPE, asset.content_type),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ],
            asset.content,
        )
            .into_response(),
        None => PageError::not_found("There is no such file.").into_response(),
    }
}
