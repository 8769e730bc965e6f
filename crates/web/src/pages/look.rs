//! How pages look to somebody: theme, time zone, wall screen, keyboard. Kept in cookies, so that it also works before the
//! first account exists; what an account says is where a browser without cookies begins. Nothing here is secret, and
//! nothing here may change more than looks.

use std::convert::Infallible;

use axum::Form;
use axum::extract::FromRequestParts;
use axum::extract::rejection::FormRejection;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use dynowatch_domain::account::Theme;
use serde::Deserialize;

use super::error::PageError;
use crate::viewer::{Viewer, is_own_page};
use crate::zone::Zone;

const THEME_COOKIE: &str = "dynowatch_theme";
const ZONE_COOKIE: &str = "dynowatch_zone";
const KEYS_COOKIE: &str = "dynowatch_keys";
/// A year: a choice of looks is made once.
const COOKIE_AGE_S: u32 = 365 * 86_400;

/// What the browser is told of a theme before it paints anything.
pub(crate) fn color_scheme(theme: Theme) -> &'static str {
    match theme {
        Theme::System => "light dark",
        Theme::Light => "light",
        Theme::Dark => "dark",
    }
}

/// How a page looks.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) theme: Theme,
    pub(crate) zone: Zone,
    /// `?wall=1`: larger type, nothing to hover, for a screen on a wall.
    pub(crate) wall: bool,
    /// Whether single keys do something.
    pub(crate) keys: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { theme: Theme::System, zone: Zone::utc(), wall: false, keys: true }
    }
}

impl Look {
    /// What a request says of it. The cookies of a browser go before the account: a wall screen is not a desk.
    pub(crate) fn of(parts: &Parts) -> Self {
        let mut look = Self { wall: is_wall(&parts.uri), ..Self::default() };
        if let Some(viewer) = parts.extensions.get::<Viewer>() {
            look.theme = viewer.theme;
            look.zone = Zone::named(&viewer.zone).unwrap_or(look.zone);
        }
        for (name, value) in cookies(&parts.headers) {
            match name {
                THEME_COOKIE => look.theme = Theme::named(value).unwrap_or(look.theme),
                ZONE_COOKIE => look.zone = Zone::named(value).unwrap_or(look.zone),
                KEYS_COOKIE => look.keys = value != "off",
                _ => {}
            }
        }
        look
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Look {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

fn is_wall(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "wall=1"))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// The form of the settings, and of the buttons in the head; what is not given stays.
#[derive(Deserialize)]
pub(crate) struct Preferences {
    theme: Option<String>,
    zone: Option<String>,
    keys: Option<String>,
    /// The page to go back to.
    back: Option<String>,
}

/// Keeps what was chosen and leads back. Open to everyone, since only their own browser keeps it; a form of another site
/// changes nothing all the same.
pub(crate) async fn save(
    headers: HeaderMap,
    form: Result<Form<Preferences>, FormRejection>,
) -> Result<Response, PageError> {
    let bad = |what: &str| PageError::new(StatusCode::BAD_REQUEST, what);
    if !is_own_page(&headers) {
        return Err(PageError::new(StatusCode::FORBIDDEN, "This form was not sent by a page of this instance."));
    }
    let Form(chosen) = form.map_err(|_| bad("This form is not one of ours."))?;
    let mut kept = Vec::new();
    if let Some(theme) = &chosen.theme {
        let theme = Theme::named(theme).ok_or_else(|| bad("There is no such theme: choose system, light or dark."))?;
        kept.push((THEME_COOKIE, theme.as_str()));
    }
    if let Some(zone) = &chosen.zone {
        let zone = Zone::named(zone.trim())
            .ok_or_else(|| bad("There is no such time zone: write an IANA name, as in Europe/Berlin, or UTC."))?;
        kept.push((ZONE_COOKIE, zone.name()));
    }
    if let Some(keys) = &chosen.keys {
        kept.push((KEYS_COOKIE, if keys == "off" { "off" } else { "on" }));
    }
    let mut response = Redirect::to(own_path(chosen.back.as_deref())).into_response();
    for (name, value) in kept {
        let cookie = format!("{name}={value}; Path=/; Max-Age={COOKIE_AGE_S}; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    Ok(response)
}

/// The page to lead back to, if it is one of ours.
fn own_path(back: Option<&str>) -> &str {
    let own = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
            && path.len() < 2_000
    };
    back.filter(own).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn look(uri: &str, cookie: &str) -> Look {
        let request = Request::builder().uri(uri).header("cookie", cookie).body(()).unwrap();
        Look::of(&request.into_parts().0)
    }

    #[test]
    fn cookies_are_wishes_not_orders() {
        let plain = look("/", "");
        assert_eq!((plain.theme, plain.zone.name(), plain.wall, plain.keys), (Theme::System, "UTC", false, true));
        let chosen =
            look("/?a=b&wall=1", "x=y; dynowatch_theme=dark; dynowatch_zone=Europe/Berlin; dynowatch_keys=off");
        assert_eq!(
            (chosen.theme, chosen.zone.name(), chosen.wall, chosen.keys),
            (Theme::Dark, "Europe/Berlin", true, false)
        );
        let odd = look("/?wall=10", "dynowatch_theme=<b>; dynowatch_zone=../x");
        assert_eq!((odd.theme, odd.zone.name(), odd.wall), (Theme::System, "UTC", false));
    }

    #[test]
    fn it_leads_back_to_ourselves_only() {
        for (back, want) in [
            ("/alerts?state=firing", "/alerts?state=firing"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("", "/"),
        ] {
            assert_eq!(own_path(Some(back)), want, "{back}");
        }
        assert_eq!(own_path(None), "/");
    }
}
