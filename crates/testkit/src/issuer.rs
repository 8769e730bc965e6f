//! An OpenID Connect issuer that keeps state and can lie: it hands out codes once, holds the exchange against the challenge
//! it was shown (PKCE), signs with a key of its own (ES256), and says what a [`Lie`] asks for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// The id that every client has here.
pub const CLIENT_ID: &str = "dynowatch-test";

/// What is wrong with a token about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// It answers another question.
    Nonce,
    /// It is for another client.
    Audience,
    /// It is for this client and for another one.
    TwoAudiences,
    /// It is over.
    Expired,
    /// Another issuer says it.
    Issuer,
    /// Another key signed it.
    Key,
    /// Nobody signed it.
    Unsigned,
    /// Its claims were changed after it was signed.
    Changed,
    /// There is none.
    Missing,
    /// Nobody says anything: the issuer answers 503, whatever it is asked.
    Away,
}

/// Who the issuer says somebody is.
#[derive(Debug, Clone)]
pub struct Person {
    /// Its own name for them.
    pub subject: String,
    /// What they are called.
    pub name: String,
    /// Their groups.
    pub groups: Vec<String>,
}

struct Grant {
    person: Person,
    nonce: String,
    challenge: String,
    redirect: String,
    now_s: i64,
}

struct State {
    url: String,
    key: EcdsaKeyPair,
    other_key: EcdsaKeyPair,
    grants: HashMap<String, Grant>,
    made: u64,
    lie: Lie,
    refused: Vec<String>,
}

/// The issuer.
pub struct FakeIssuer {
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let made = made.unwrap_or_else(|error| panic!("a key: {error}"));
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random)
        .unwrap_or_else(|error| panic!("a key: {error}"))
}

impl FakeIssuer {
    /// Begins to answer on a port of its own.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("a port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("a port: {error}"));
        let state = State {
            url: format!("http://{address}"),
            key: key(),
            other_key: key(),
            grants: HashMap::new(),
            made: 0,
            lie: Lie::None,
            refused: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                    let _closed = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { state, task: task.abort_handle() }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        locked(&self.state).url.clone()
    }

    /// From now on, tokens are wrong in this way.
    pub fn lie(&self, lie: Lie) {
        locked(&self.state).lie = lie;
    }

    /// Why exchanges were refused so far.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        locked(&self.state).refused.clone()
    }

    /// Lets somebody in who was sent here with that address; gives where their browser is sent back to.
    ///
    /// # Panics
    /// When the address is not what an issuer must be shown.
    #[must_use]
    pub fn approve(&self, address: &str, person: &Person, now_s: i64) -> String {
        let mut state = locked(&self.state);
        let query = address.strip_prefix(&format!("{}/authorize?", state.url));
        let query = query.unwrap_or_else(|| panic!("not this issuer's page: {address}"));
        let fields = fields(query);
        let field = |name: &str| fields.get(name).cloned().unwrap_or_else(|| panic!("no {name} in {address}"));
        assert_eq!((field("response_type").as_str(), field("client_id").as_str()), ("code", CLIENT_ID));
        assert_eq!(field("code_challenge_method"), "S256");
        assert!(field("scope").split(' ').any(|scope| scope == "openid"), "{address}");
        let (redirect, asked) = (field("redirect_uri"), field("state"));
        assert!(asked.len() >= 43 && field("nonce").len() >= 43, "too short to be guarded by: {address}");
        state.made += 1;
        let code = format!("code-{}", state.made);
        let grant = Grant {
            person: person.clone(),
            nonce: field("nonce"),
            challenge: field("code_challenge"),
            redirect: redirect.clone(),
            now_s,
        };
        state.grants.insert(code.clone(), grant);
        format!("{redirect}?code={code}&state={asked}")
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut state = locked(&state);
    let (status, json) = match path.as_str() {
        _ if state.lie == Lie::Away => (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": "away <b>for now</b>" })),
        "/.well-known/openid-configuration" => (StatusCode::OK, description(&state.url)),
        "/jwks" => (StatusCode::OK, json!({ "keys": [public(&state.key)] })),
        "/token" => match exchange(&mut state, &String::from_utf8_lossy(&body)) {
            Ok(json) => (StatusCode::OK, json),
            Err(why) => {
                state.refused.push(why.clone());
                (StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant", "error_description": why }))
            }
        },
        _ => (StatusCode::NOT_FOUND, json!({})),
    };
    let mut response = Response::new(Full::new(Bytes::from(json.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn description(url: &str) -> Value {
    json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    })
}

fn public(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let half = |from: usize| BASE64URL_NOPAD.encode(point.get(from..from + 32).unwrap_or_default());
    json!({ "kty": "EC", "crv": "P-256", "x": half(1), "y": half(33), "kid": "one", "alg": "ES256", "use": "sig" })
}

fn exchange(state: &mut State, body: &str) -> Result<Value, String> {
    let fields = fields(body);
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let grant = state.grants.remove(field("code")).ok_or("the code is unknown, or was used")?;
    if field("redirect_uri") != grant.redirect {
        return Err("another redirect_uri".to_owned());
    }
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(field("code_verifier").as_bytes()));
    if challenge != grant.challenge {
        return Err("the verifier does not fit the challenge".to_owned());
    }
    let mut answer = json!({ "access_token": "nothing", "token_type": "Bearer", "expires_in": 300 });
    if state.lie != Lie::Missing {
        answer["id_token"] = token(state, &grant).into();
    }
    Ok(answer)
}

fn token(state: &State, grant: &Grant) -> String {
    let lie = state.lie;
    let audience = match lie {
        Lie::Audience => json!("another-client"),
        Lie::TwoAudiences => json!([CLIENT_ID, "another-client"]),
        _ => json!(CLIENT_ID),
    };
    let expires = if lie == Lie::Expired { grant.now_s - 1 } else { grant.now_s + 300 };
    let mut claims = json!({
        "iss": if lie == Lie::Issuer { "https://sso.evil.example" } else { state.url.as_str() },
        "sub": grant.person.subject,
        "aud": audience,
        "exp": expires,
        "iat": grant.now_s - 5,
        "nonce": if lie == Lie::Nonce { "another" } else { grant.nonce.as_str() },
        "preferred_username": grant.person.name,
        "groups": grant.person.groups,
    });
    let header = if lie == Lie::Unsigned {
        json!({ "alg": "none" })
    } else {
        json!({ "alg": "ES256", "kid": "one", "typ": "JWT" })
    };
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    if lie == Lie::Unsigned {
        return format!("{signed}.");
    }
    let key = if lie == Lie::Key { &state.other_key } else { &state.key };
    let signature =
        key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap_or_else(|error| panic!("a signature: {error}"));
    let signature = BASE64URL_NOPAD.encode(signature.as_ref());
    if lie == Lie::Changed {
        claims["sub"] = "somebody-else".into();
        return format!("{}.{}.{signature}", encode(&header), encode(&claims));
    }
    format!("{signed}.{signature}")
}

/// The fields of a form or a query.
fn fields(text: &str) -> HashMap<String, String> {
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (plain(name), plain(value))).collect()
}

fn plain(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                out.push(b' ');
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
