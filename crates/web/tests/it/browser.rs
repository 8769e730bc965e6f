//! A browser for tests: keeps cookies, sends what browsers send, fills forms with what they hold.

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::account::totp;
use dynowatch_web::new_link;
use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;

use crate::site::{Answer, Site};

/// A password that is taken.
pub(crate) const PASSWORD: &str = "four words of mine";

pub(crate) struct Browser<'a> {
    pub(crate) site: &'a Site,
    pub(crate) jar: BTreeMap<String, String>,
    pub(crate) peer: &'static str,
    /// What it sends besides, such as its host.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The token of the newest page's forms.
    pub(crate) csrf: String,
}

impl<'a> Browser<'a> {
    /// On this very machine.
    pub(crate) fn new(site: &'a Site) -> Self {
        Self {
            site,
            jar: BTreeMap::new(),
            peer: "127.0.0.1:40000",
            headers: vec![("host", "localhost:8080".into())],
            csrf: String::new(),
        }
    }

    /// Elsewhere, behind a proxy that speaks https.
    pub(crate) fn elsewhere(site: &'a Site, address: &str) -> Self {
        let headers = vec![
            ("host", "watch.example".into()),
            ("x-forwarded-proto", "https".into()),
            ("x-forwarded-for", format!("6.6.6.6, {address}")),
        ];
        Self { peer: "10.1.2.3:40000", headers, ..Self::new(site) }
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let cookies = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        headers.extend_from_slice(more);
        let answer = self.site.ask(method, path, self.peer, &headers, body).await;
        for line in answer.headers.get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.jar.remove(name)
            } else {
                self.jar.insert(name.into(), value.into())
            };
        }
        if let Some(token) = field(&answer.text, "csrf") {
            self.csrf = token;
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[("sec-fetch-site", "same-origin")], "").await
    }

    /// Sends a form as a browser would, with the token of the newest page.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf.clone();
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        self.post_as("same-origin", path, &all).await
    }

    /// Sends exactly these fields, from a page of that site.
    pub(crate) async fn post_as(&mut self, site: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body =
            fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&");
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", site)];
        self.send(Method::POST, path, &headers, &body).await
    }

    /// Makes the first account, and is signed in.
    pub(crate) async fn set_up(&mut self, name: &str) {
        let link = setup_link(self.site).await;
        let path = format!("/setup/{link}");
        assert_eq!(self.get(&path).await.status, StatusCode::OK);
        let fields = [("name", name), ("password", PASSWORD), ("again", PASSWORD)];
        let answer = self.post(&path, &fields).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (StatusCode::SEE_OTHER, "/settings/security"),
            "{}",
            answer.text
        );
        assert_eq!(self.get("/settings/security").await.status, StatusCode::OK);
    }

    pub(crate) async fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        self.post("/sign-in", &[("name", name), ("password", password), ("next", "/")]).await
    }

    /// Sends a form that asks to be confirmed, and confirms it.
    pub(crate) async fn confirm(&mut self, path: &str, fields: &[(&str, &str)], proof: &str) -> Answer {
        let question = self.post(path, fields).await;
        assert_eq!(question.status, StatusCode::OK, "{}", question.text);
        let challenge = field(&question.text, "challenge").unwrap();
        let mut all = fields.to_vec();
        all.extend([("challenge", challenge.as_str()), ("proof", proof)]);
        self.post(path, &all).await
    }

    /// Sets up an authenticator, with the password of those who have one; returns its seed and the recovery codes. Leaves the
    /// clock one step on.
    pub(crate) async fn enrol(&mut self, password: &str) -> (Vec<u8>, Vec<String>) {
        self.get("/settings/security").await;
        let page = self.post("/settings/security/authenticator", &[("proof", password)]).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.text.contains("<svg"), "a picture");
        let secret: String =
            between(&page.text, "type the key: <code>", "</code>").chars().filter(|c| *c != ' ').collect();
        let seed = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
        let codes = self.post("/settings/security/authenticator/confirm", &[("code", &code(self.site, &seed))]).await;
        assert_eq!(codes.status, StatusCode::OK, "{}", codes.text);
        let listed =
            codes.text.split("<li><code>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
        self.site.clock.advance(Duration::from_secs(30));
        (seed, listed)
    }
}

/// A link for the first account.
pub(crate) async fn setup_link(site: &Site) -> String {
    let (secret, hash) = new_link();
    let now = site.engine.now();
    let act = Actor::here("cli:test").did("setup.link", "");
    site.engine.store().make_setup_link(hash, now + Duration::from_secs(1_800), &act, now).await.unwrap();
    secret.expose_secret().to_owned()
}

/// The code of this moment, worked out apart from the program's own way: RFC 4226 by hand.
pub(crate) fn code(site: &Site, seed: &[u8]) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let step = u64::try_from(totp::step_of(site.engine.now())).unwrap();
    let mac =
        Hmac::<sha1::Sha1>::new_from_slice(seed).unwrap().chain_update(step.to_be_bytes()).finalize().into_bytes();
    let at = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes(mac[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// The value of a hidden field.
pub(crate) fn field(page: &str, name: &str) -> Option<String> {
    let rest = page.split(&format!("name=\"{name}\" value=\"")).nth(1)?;
    Some(rest.split('"').next()?.to_owned())
}

pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split(before).nth(1).and_then(|rest| rest.split(after).next()).unwrap_or_else(|| panic!("no {before}: {text}"))
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
