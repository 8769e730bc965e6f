//! Signing in elsewhere: OpenID Connect, the code flow with PKCE, state and nonce. The protocol's checks are the library's
//! (issuer, audience, signature, expiry, nonce); here is the way there and back, and whose account it is. An identity is the
//! issuer and its subject, never a mail address.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use dynowatch_domain::NewId as _;
use dynowatch_domain::account::session::CHALLENGE;
use dynowatch_domain::account::{Role, user_name};
use dynowatch_engine::random::RandomIds;
use dynowatch_store::accounts::{NewChallenge, NewUser, User};
use maud::html;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreTokenResponse,
};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse as _,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::client::Client;
use super::form::{own_path, page_with};
use super::limits::{Guess, address_key};
use super::sign_in::{after_first, failed};
use super::{new_secret, secret_hash};
use crate::pages::error::PageError;
use crate::router::Web;

/// Where the issuer sends people back to, behind this instance's address.
pub(crate) const CALLBACK: &str = "/sign-in/oidc/callback";
/// How long the issuer may take for one answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// People whose issuer is being asked at a time: strangers can make us ask.
const ASKING_MAX: usize = 8;
/// When to try again after the issuer was away.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Signatures that anyone can check; nothing that a shared secret could sign.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// An issuer that people sign in with.
#[derive(Clone)]
pub struct OidcOptions {
    /// Its URL, exactly as it writes itself.
    pub issuer: String,
    /// What it knows this instance by.
    pub client_id: String,
    /// The secret for that; none for a public client, which PKCE alone protects.
    pub client_secret: Option<SecretString>,
    /// What the button says.
    pub name: String,
    /// What to ask for, besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that lists a person's groups.
    pub groups_claim: String,
    /// Which group stands for which role; the highest counts. Empty: roles are set here.
    pub roles: Vec<(String, Role)>,
    /// The role of who is in no such group, or of who is new where there are none. None: they may not come in.
    pub default_role: Option<Role>,
}

/// The same, ready to ask.
pub(crate) struct Oidc {
    options: OidcOptions,
    http: Result<reqwest::Client, String>,
    asking: Semaphore,
}

/// What is remembered on the way there and back.
#[derive(Serialize, Deserialize)]
struct Flow {
    nonce: String,
    verifier: String,
    next: String,
}

/// What the issuer's token says of a person, after every check.
struct Claims {
    subject: String,
    name: String,
    groups: Vec<String>,
}

/// Why nobody came in. The words are for the log and the audit log: they may be an attacker's.
enum NotIn {
    /// The issuer did not answer, or not as one that works does: it said nothing of the person.
    Away(String),
    /// It said no, or what it said is not good.
    Refused(String),
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(String),
    #[error("it answers {0}")]
    Broken(http::StatusCode),
    #[error("an answer of more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
}

/// Asks the issuer for the library: no redirects, an end to time and length.
struct Fetcher(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Fetcher {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(fetch(&self.0, request))
    }
}

async fn fetch(http: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, FetchError> {
    let failed = |error: reqwest::Error| FetchError::Http(error.without_url().to_string());
    let request = reqwest::Request::try_from(request).map_err(failed)?;
    let mut answer = http.execute(request).await.map_err(failed)?;
    // Whatever stands in such an answer, it is no word on anybody.
    if answer.status().is_server_error() || answer.status() == http::StatusCode::TOO_MANY_REQUESTS {
        return Err(FetchError::Broken(answer.status()));
    }
    let mut response = http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    response.body(body).map_err(|error| FetchError::Http(error.to_string()))
}

impl Oidc {
    pub(crate) fn new(options: OidcOptions) -> Self {
        // Proxies of the environment are not used: only the binary reads the environment.
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.timeout(ANSWER_TIME_MAX);
        Self { options, http: http.build().map_err(|error| error.to_string()), asking: Semaphore::new(ASKING_MAX) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    /// Whether groups there stand for roles here.
    pub(crate) fn gives_roles(&self) -> bool {
        !self.options.roles.is_empty()
    }

    fn secret(&self) -> Option<ClientSecret> {
        self.options.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose_secret().to_owned()))
    }

    /// A place among those whose issuer is being asked.
    async fn place(&self) -> Result<SemaphorePermit<'_>, String> {
        let place = tokio::time::timeout(ANSWER_TIME_MAX, self.asking.acquire()).await;
        place.ok().and_then(Result::ok).ok_or_else(|| "too many people are signing in at this moment".to_owned())
    }

    /// What asks the issuer.
    fn fetcher(&self) -> Result<Fetcher, String> {
        self.http.clone().map(Fetcher)
    }

    async fn metadata(&self, http: &Fetcher) -> Result<CoreProviderMetadata, String> {
        let issuer = IssuerUrl::new(self.options.issuer.clone()).map_err(|error| error.to_string())?;
        let found = CoreProviderMetadata::discover_async(issuer, http).await;
        found.map_err(|error| format!("its description cannot be read: {error}"))
    }

    /// Where to send the person.
    async fn authorize(&self, base: &str, state: &str, flow: &Flow) -> Result<String, String> {
        let _place = self.place().await?;
        let http = self.fetcher()?;
        let client = CoreClient::from_provider_metadata(
            self.metadata(&http).await?,
            ClientId::new(self.options.client_id.clone()),
            self.secret(),
        );
        let client = client.set_redirect_uri(redirect(base)?);
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(flow.verifier.clone()));
        let (state, nonce) = (state.to_owned(), flow.nonce.clone());
        let request = client.authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            move || CsrfToken::new(state.clone()),
            move || Nonce::new(nonce.clone()),
        );
        let scopes = self.options.scopes.iter().cloned().map(Scope::new);
        let (url, ..) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();
        Ok(url.into())
    }

    /// What the issuer says of the person whose code this is.
    async fn exchange(&self, web: &Web, base: &str, code: &str, flow: Flow) -> Result<Claims, NotIn> {
        let _place = self.place().await.map_err(NotIn::Away)?;
        let http = self.fetcher().map_err(NotIn::Away)?;
        let client = CoreClient::from_provider_metadata(
            self.metadata(&http).await.map_err(NotIn::Away)?,
            ClientId::new(self.options.client_id.clone()),
            self.secret(),
        );
        let client = client.set_redirect_uri(redirect(base).map_err(NotIn::Away)?);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| NotIn::Away(error.to_string()))?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(flow.verifier));
        let answer = request.request_async(&http).await;
        let answer = answer.map_err(|error| match error {
            RequestTokenError::Request(error) => NotIn::Away(format!("it did not take the code: {error}")),
            error => NotIn::Refused(format!("the code was not taken: {error}")),
        })?;
        self.claims(web, client.id_token_verifier(), &answer, flow.nonce).map_err(NotIn::Refused)
    }

    /// What its answer says of the person, after every check.
    fn claims(
        &self,
        web: &Web,
        verifier: CoreIdTokenVerifier<'_>,
        answer: &CoreTokenResponse,
        nonce: String,
    ) -> Result<Claims, String> {
        let token = answer.id_token().ok_or("its answer holds no token about the person")?;
        let now = chrono::DateTime::from_timestamp_micros(web.engine.now().as_micros()).unwrap_or_default();
        let verifier = verifier.set_allowed_algs(ALGORITHMS).set_time_fn(move || now);
        let claims = token.claims(&verifier, &Nonce::new(nonce));
        let claims = claims.map_err(|error| format!("its token about the person is not good: {error}"))?;
        // Only what was just checked is read once more, for the claims that the library does not know.
        let more = payload(&token.to_string());
        let text = |name: &str| more.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let name = text("preferred_username").or_else(|| text("email")).or_else(|| text("name"));
        let groups = more.get(&self.options.groups_claim).map(|value| match value {
            serde_json::Value::Array(list) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
            serde_json::Value::String(one) => vec![one.clone()],
            _ => Vec::new(),
        });
        Ok(Claims {
            subject: claims.subject().to_string(),
            name: name.unwrap_or_default(),
            groups: groups.unwrap_or_default(),
        })
    }

    /// The role that groups stand for: `None` where roles are set here, `Some(None)` for nobody's.
    fn role(&self, groups: &[String]) -> Option<Option<Role>> {
        if self.options.roles.is_empty() {
            return None;
        }
        let mapped = self.options.roles.iter().filter(|(group, _)| groups.contains(group)).map(|(_, role)| *role);
        Some(mapped.max().or(self.options.default_role))
    }
}

fn redirect(base: &str) -> Result<RedirectUrl, String> {
    RedirectUrl::new(format!("{base}{CALLBACK}")).map_err(|error| error.to_string())
}

/// The claims of a token, without a check.
fn payload(token: &str) -> BTreeMap<String, serde_json::Value> {
    let middle = token.split('.').nth(1).unwrap_or_default();
    let bytes = BASE64URL_NOPAD.decode(middle.as_bytes()).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

/// What the issuer sends back.
#[derive(Deserialize, Default)]
pub(crate) struct Back {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    error: String,
}

fn ready(web: &Web) -> Result<(&Oidc, String), PageError> {
    let oidc = web.accounts.oidc.as_ref();
    let oidc = oidc.ok_or_else(|| PageError::not_found("This instance knows no other place to sign in at."))?;
    let base = web.engine.public_url().as_ref().clone();
    let base = base.ok_or_else(|| {
        PageError::new(StatusCode::SERVICE_UNAVAILABLE, "This instance does not know its own address: set public_url.")
    })?;
    Ok((oidc, base))
}

/// Sends the person to the issuer.
pub(crate) async fn leave(
    State(web): State<Arc<Web>>,
    client: Client,
    Query(query): Query<Next>,
) -> Result<Response, PageError> {
    let (oidc, base) = ready(&web)?;
    if !client.can_sign_in() {
        return Err(PageError::new(StatusCode::FORBIDDEN, "Open this page by https, or as http://localhost."));
    }
    if !web.accounts.limits.take(&Guess::Address(address_key(&client.address)), web.engine.now()) {
        return Err(PageError::too_many());
    }
    let text = || new_secret().expose_secret().to_owned();
    let flow = Flow { nonce: text(), verifier: text(), next: own_path(&query.next) };
    let (state, browser) = (new_secret(), new_secret());
    let url = match oidc.authorize(&base, state.expose_secret(), &flow).await {
        Ok(url) => url,
        Err(why) => return away(&web, &client, oidc, &why).await,
    };
    let now = web.engine.now();
    let new = NewChallenge {
        token_hash: secret_hash(state.expose_secret()),
        kind: "oidc",
        user: None,
        session: None,
        digest: Some(secret_hash(browser.expose_secret())),
        detail: serde_json::to_string(&flow).unwrap_or_default(),
        expires_at: now + CHALLENGE,
    };
    web.engine.store().put_challenge(&new, now).await?;
    let place = HeaderValue::from_str(&url)
        .map_err(|_| PageError::new(StatusCode::BAD_GATEWAY, "The issuer's address cannot be used."))?;
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response();
    if let Some(cookie) = client.set_flow_cookie(browser.expose_secret(), CHALLENGE.as_secs()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Takes the person back.
pub(crate) async fn come_back(
    State(web): State<Arc<Web>>,
    client: Client,
    headers: HeaderMap,
    Query(back): Query<Back>,
) -> Result<Response, PageError> {
    let (oidc, base) = ready(&web)?;
    let (store, now) = (web.engine.store(), web.engine.now());
    let known = store.take_challenge(&secret_hash(&back.state), "oidc", now).await?;
    let browser = client.flow_token(&headers).map(secret_hash);
    let flow = known
        .filter(|known| browser.is_some_and(|browser| known.digest.as_deref() == Some(&browser[..])))
        .and_then(|known| serde_json::from_str::<Flow>(&known.detail).ok());
    let Some(flow) = flow else {
        let why = "it was begun in another browser, took too long, or was finished already";
        return refused(&web, &client, oidc, why).await;
    };
    if !back.error.is_empty() {
        return refused(&web, &client, oidc, "the issuer did not let them in").await;
    }
    let next = flow.next.clone();
    let claims = match oidc.exchange(&web, &base, &back.code, flow).await {
        Ok(claims) => claims,
        Err(NotIn::Away(why)) => return away(&web, &client, oidc, &why).await,
        Err(NotIn::Refused(why)) => return refused(&web, &client, oidc, &why).await,
    };
    match person(&web, &client, oidc, &claims).await? {
        Some(user) => {
            // It was no guess: others behind the same address count on.
            web.accounts.limits.undo(&Guess::Address(address_key(&client.address)));
            after_first(&web, &client, &headers, &user, "oidc", &next).await
        }
        None => {
            refused(&web, &client, oidc, "this person has no account here, and no role that would give them one").await
        }
    }
}

/// Whose account the claims stand for; made now if they have a role.
async fn person(web: &Web, client: &Client, oidc: &Oidc, claims: &Claims) -> Result<Option<User>, PageError> {
    let (store, now) = (web.engine.store(), web.engine.now());
    let (issuer, mapped) = (&oidc.options.issuer, oidc.role(&claims.groups));
    if let Some(user) = store.user_of_identity(issuer, &claims.subject).await? {
        if user.disabled_at.is_some() || mapped == Some(None) {
            return Ok(None);
        }
        if let Some(Some(role)) = mapped.filter(|role| *role != Some(user.role)) {
            let act = client.actor("oidc").did("user.role", &user.name);
            let act = act.with(format!("{} instead of {}, by their groups", role.as_str(), user.role.as_str()));
            store.set_role(user.id, role, None, &act, now).await?;
        }
        return Ok(store.user(user.id).await?);
    }
    let Some(role) = mapped.unwrap_or(oidc.options.default_role) else { return Ok(None) };
    let allowed: String =
        claims.name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(*c)).take(48).collect();
    let name = user_name(&allowed).unwrap_or_else(|_| "someone".to_owned());
    let id = RandomIds.new_id(now);
    let act = client.actor("oidc").did("user.joined", &name).with(format!("as {}, by {issuer}", role.as_str()));
    let new = NewUser { id, name, role, password_hash: None };
    let _name = store.add_identity(issuer, &claims.subject, &new, &act, now).await?;
    Ok(store.user(id).await?)
}

/// Nobody refused the person: there was nobody to ask.
async fn away(web: &Web, client: &Client, oidc: &Oidc, why: &str) -> Result<Response, PageError> {
    failed(web, client, "", &format!("oidc: {why}")).await?;
    let what = format!(
        "{} does not answer, or not as it should, so nobody can sign in with it now. Begin again in a minute. Whoever has a password here can sign in with that meanwhile; the audit log and the log of dynowatch say more.",
        oidc.name()
    );
    Err(PageError::not_now(&what).after(RETRY_AFTER).leading("/sign-in", "Sign in"))
}

async fn refused(web: &Web, client: &Client, oidc: &Oidc, why: &str) -> Result<Response, PageError> {
    // What the issuer or the address line said is not shown: it may be an attacker's text.
    failed(web, client, "", &format!("oidc: {why}")).await?;
    let content = html! {
        p { "Signing in with " (oidc.name()) " did not work. Begin again; if that does not help, the audit log and the log of dynowatch say why." }
        p { a href="/sign-in" { "Sign in" } }
    };
    Ok(page_with(StatusCode::UNAUTHORIZED, "Not signed in", &content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_for_the_highest_role() {
        _ = rustls::crypto::ring::default_provider().install_default();
        let with = |roles: &[(&str, Role)], default_role| {
            Oidc::new(OidcOptions {
                issuer: "https://sso.example".into(),
                client_id: "x".into(),
                client_secret: None,
                name: "SSO".into(),
                scopes: Vec::new(),
                groups_claim: "groups".into(),
                roles: roles.iter().map(|(group, role)| ((*group).to_owned(), *role)).collect(),
                default_role,
            })
        };
        let mapped = with(&[("dev", Role::Operator), ("ops", Role::Superadmin)], None);
        assert_eq!(mapped.role(&["dev".into(), "ops".into()]), Some(Some(Role::Superadmin)));
        assert_eq!(mapped.role(&["dev".into()]), Some(Some(Role::Operator)));
        assert_eq!(mapped.role(&["sales".into()]), Some(None));
        assert_eq!(with(&[("dev", Role::Operator)], Some(Role::Viewer)).role(&[]), Some(Some(Role::Viewer)));
        assert_eq!(with(&[], Some(Role::Viewer)).role(&["dev".into()]), None);
    }
}
