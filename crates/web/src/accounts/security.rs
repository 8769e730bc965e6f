//! A person's own account: sign-ins, password, authenticator with its recovery codes, zone and theme.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use data_encoding::BASE32_NOPAD;
use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use dynowatch_domain::account::session::CHALLENGE;
use dynowatch_domain::account::{Role, Theme};
use dynowatch_store::accounts::{Authenticator, Factor, FirstCode, Session, User};
use fast_qr::QRBuilder;
use fast_qr::convert::svg::SvgBuilder;
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use uuid::Uuid;

use super::changes;
use super::client::Client;
use super::confirm::{done, proof_field, proved, wrong};
use super::current::new_seed;
use super::factor::{code_of, otpauth, purpose, recovery_codes};
use super::form::{Field, Fields, moment, own_path, page, page_with, places, see_other};
use super::limits::Guess;
use super::setup;
use super::sign_in::failed;
use crate::pages::error::PageError;
use crate::pages::look::Look;
use crate::router::Web;
use crate::show::visible;
use crate::viewer::{Changing, SignedIn, Viewer};
use crate::zone::{self, Zone};

const HERE: &str = "/settings/security";

/// How someone came to their page: from a sign-in that had something to say.
#[derive(Default, Deserialize)]
pub(crate) struct Came {
    /// Their sign-in before, in microseconds since 1970.
    since: Option<i64>,
    /// Where they were going.
    #[serde(default)]
    next: String,
}

/// Someone and the sign-in they use.
struct Me {
    person: User,
    signed_in: SignedIn,
}

async fn me(web: &Web, viewer: &Viewer) -> Result<Me, PageError> {
    let signed_in = viewer.signed_in()?;
    let person = web.engine.store().user(signed_in.user).await?.ok_or_else(PageError::signed_out)?;
    Ok(Me { person, signed_in })
}

/// The proof that was typed. One that is not good is written down.
async fn proof(
    web: &Web,
    client: &Client,
    me: &Me,
    fields: &Fields,
    recovery_counts: bool,
    what_for: &str,
) -> Result<Factor, PageError> {
    if let Some(factor) = proved(web, &me.person, fields.text("proof"), recovery_counts).await? {
        return Ok(factor);
    }
    failed(web, client, &me.person.name, what_for).await?;
    Err(PageError::new(StatusCode::FORBIDDEN, wrong(&me.person)))
}

fn did(client: &Client, me: &Me, action: &'static str) -> Act {
    client.actor(format!("user:{}", me.person.name)).did(action, &me.person.name)
}

/// The page.
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    viewer: Viewer,
    look: Look,
    Query(came): Query<Came>,
) -> Result<Response, PageError> {
    let me = me(&web, &viewer).await?;
    let (store, now) = (web.engine.store(), web.engine.now());
    let sessions = store.sessions_of(me.person.id, now).await?;
    let codes = store.recovery_codes_left(me.person.id).await?;
    let changed = changes::after(store, &me.person.name, now - changes::SHOWN_FOR).await?;
    let since = came.since.map(Timestamp::from_micros);
    let content = html! {
        (places(HERE, viewer.may(Role::Superadmin)))
        p { "You are " strong { (me.person.name) } ", " (me.person.role.as_str()) "." }
        @if !viewer.is_fresh {
            p.note { "To change something here, " a href={ "/step-up?next=" (HERE) } { "sign in again" } " first." }
        }
        (changes::notice(&changed, since, &own_path(&came.next)))
        section.flow { (sign_ins(&viewer, &look.zone, &sessions, me.signed_in.session)) }
        div.cards {
            @if me.person.password_hash.is_some() { section.card.flow { (password_part(&viewer)) } }
            section.card.flow { (authenticator_part(&web, &viewer, &look.zone, &me.person, codes)) }
            section.card.flow { (preferences_part(&viewer)) }
        }
        section.flow { (changes::part(&web, &look.zone, &changed)) }
        form method="post" action="/sign-out" { (viewer.csrf_field()) p { button type="submit" { "Sign out" } } }
    };
    Ok(page("Your account", &content))
}

fn sign_ins(viewer: &Viewer, zone: &Zone, sessions: &[Session], here: Uuid) -> Markup {
    html! {
        h2 { "Where you are signed in" }
        table {
            thead { tr { th scope="col" { "Browser" } th scope="col" { "From" } th scope="col" { "Since" } th scope="col" { "Last used" } th scope="col" { "" } } }
            tbody {
                @for session in sessions {
                    tr {
                        td data-of="Browser" { (visible(&session.agent)) }
                        td data-of="From" { (visible(&session.address)) }
                        td data-of="Since" { (moment(zone, session.created_at)) }
                        td data-of="Last used" { (moment(zone, session.seen_at)) }
                        td {
                            @if session.id == here { "this one" } @else {
                                form method="post" action={ (HERE) "/sessions/" (session.id) "/end" } {
                                    (viewer.csrf_field())
                                    button type="submit" { "End" }
                                }
                            }
                        }
                    }
                }
            }
        }
        form method="post" action={ (HERE) "/sessions/end-others" } {
            (viewer.csrf_field())
            p { button type="submit" { "End all others" } }
        }
    }
}

fn password_part(viewer: &Viewer) -> Markup {
    html! {
        h2 { "Password" }
        form method="post" action={ (HERE) "/password" } {
            (viewer.csrf_field())
            (Field { autocomplete: "current-password", ..Field::new("current", "Present password", "password") }.show())
            (Field { autocomplete: "new-password", help: "At least 8 characters, better 15: four words are good.", ..Field::new("password", "New password", "password") }.show())
            (Field { autocomplete: "new-password", ..Field::new("again", "The same again", "password") }.show())
            p { button type="submit" { "Change the password" } " All your other sign-ins end." }
        }
    }
}

fn authenticator_part(web: &Web, viewer: &Viewer, zone: &Zone, person: &User, codes: i64) -> Markup {
    html! {
        h2 { "Authenticator" }
        @match person.authenticator_at {
            Some(at) => {
                p { "An authenticator app asks for a code at every sign-in, since " (moment(zone, at)) ". Recovery codes left: " (codes) "." }
                form method="post" action={ (HERE) "/authenticator/codes" } {
                    (viewer.csrf_field())
                    (proof_field(person, None))
                    p { button type="submit" { "Make new recovery codes" } " The old ones are no good any more." }
                }
                form method="post" action={ (HERE) "/authenticator/remove" } {
                    (viewer.csrf_field())
                    p.field {
                        label for="remove-proof" { "Code, or a recovery code" }
                        input id="remove-proof" name="proof" type="text" required autocomplete="one-time-code";
                    }
                    p { button type="submit" { "Remove the authenticator" } }
                }
            }
            None if web.accounts.sealer.can_seal() => {
                p { "Without one, whoever learns your password is in." }
                form method="post" action={ (HERE) "/authenticator" } {
                    (viewer.csrf_field())
                    @if person.password_hash.is_some() { (proof_field(person, None)) }
                    p { button type="submit" { "Set up an authenticator" } }
                }
            }
            None => {
                p { "An authenticator cannot be set up here yet: this instance has no key to keep its secret with. Set " code { "DYNOWATCH_SECRET_KEY" } " to what " code { "openssl rand -hex 32" } " prints, and start it again." }
            }
        }
    }
}

fn preferences_part(viewer: &Viewer) -> Markup {
    html! {
        h2 { "How pages look" }
        form method="post" action={ (HERE) "/preferences" } {
            (viewer.csrf_field())
            p.field {
                label for="zone" { "Time zone" }
                input #zone type="text" name="zone" value=(viewer.zone) list="zones" required autocomplete="off" spellcheck="false" aria-describedby="zone-help";
                datalist #zones { @for name in zone::names() { option value=(name) {} } }
                small.help #zone-help { "An IANA name, as in Europe/Berlin, or UTC." }
            }
            p.field {
                label for="theme" { "Theme" }
                select id="theme" name="theme" {
                    @for theme in Theme::ALL { option value=(theme.as_str()) selected[theme == viewer.theme] { (theme.as_str()) } }
                }
            }
            p { button type="submit" { "Save" } }
        }
    }
}

/// Ends one sign-in.
pub(crate) async fn end_session(
    State(web): State<Arc<Web>>,
    client: Client,
    Changing(viewer): Changing,
    Path(id): Path<Uuid>,
) -> Result<Response, PageError> {
    let me = me(&web, &viewer).await?;
    let act = did(&client, &me, "session.end").with(id.to_string());
    let _was = web.engine.store().end_session(me.person.id, id, &act, web.engine.now()).await?;
    Ok(see_other(HERE))
}

/// Ends all other sign-ins.
pub(crate) async fn end_others(
    State(web): State<Arc<Web>>,
    client: Client,
    Changing(viewer): Changing,
) -> Result<Response, PageError> {
    let me = me(&web, &viewer).await?;
    let act = did(&client, &me, "session.end_others");
    let keep = Some(me.signed_in.session);
    web.engine.store().end_other_sessions(me.person.id, keep, &act, web.engine.now()).await?;
    Ok(see_other(HERE))
}

/// Another password. The present one is asked for, so that an unlocked screen is not enough.
pub(crate) async fn password(
    State(web): State<Arc<Web>>,
    client: Client,
    Changing(viewer): Changing,
    fields: Fields,
) -> Result<Response, PageError> {
    let me = me(&web, &viewer).await?;
    let guess = Guess::Proof(me.person.id);
    if !web.accounts.limits.take(&guess, web.engine.now()) {
        return Err(PageError::too_many());
    }
    let fits = web.accounts.passwords.fits(fields.text("current"), me.person.password_hash.as_deref()).await?;
    if !fits {
        failed(&web, &client, &me.person.name, "the present password").await?;
    }
    let (new, again) = setup::judge(&web, &me.person.name, &fields);
    let problem =
        if fits { new.or(again.map(str::to_owned)) } else { Some("The present password is another.".to_owned()) };
    if let Some(problem) = problem {
        let content = html! { p role="alert" { strong.error { (problem) } } p { a href=(HERE) { "Back" } } };
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, "The password stays as it was", &content));
    }
    web.accounts.limits.undo(&guess);
    let hash = web.accounts.passwords.hash(fields.text("password")).await?;
    let act = did(&client, &me, "user.password");
    let keep = Some(me.signed_in.session);
    web.engine.store().set_password(me.person.id, &hash, keep, &act, web.engine.now()).await?;
    Ok(see_other(HERE))
}

/// Zone and theme. Harmless, so no fresh sign-in is asked for.
pub(crate) async fn preferences(
    State(web): State<Arc<Web>>,
    viewer: Viewer,
    fields: Fields,
) -> Result<Response, PageError> {
    let SignedIn { user, .. } = viewer.signed_in()?;
    let zone = Zone::named(fields.text("zone").trim()).ok_or_else(|| {
        PageError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "There is no such time zone: write an IANA name, as in Europe/Berlin, America/New_York or UTC.",
        )
    })?;
    let theme = Theme::named(fields.text("theme")).unwrap_or_default();
    web.engine.store().set_preferences(user, zone.name(), theme).await?;
    Ok(see_other(HERE))
}

/// Begins setting up an authenticator: a new seed, shown once. The password is asked for, so that an unlocked screen is not
/// enough to bind somebody's account to another phone; who signs in elsewhere has none, and must just have done so.
pub(crate) async fn begin_authenticator(
    State(web): State<Arc<Web>>,
    client: Client,
    Changing(viewer): Changing,
    fields: Fields,
) -> Result<Response, PageError> {
    let me = me(&web, &viewer).await?;
    if me.person.password_hash.is_some() {
        let _good = proof(&web, &client, &me, &fields, false, "setting up an authenticator").await?;
    } else {
        let (now, here) = (web.engine.now(), me.signed_in.session);
        let sessions = web.engine.store().sessions_of(me.person.id, now).await?;
        if !sessions.iter().any(|session| session.id == here && now.since(session.created_at) < CHALLENGE) {
            return Err(PageError::not_just_in());
        }
    }
    let seed = new_seed();
    let sealed = web.accounts.sealer.seal(&seed, &purpose(me.person.id))?;
    let act = did(&client, &me, "authenticator.begin");
    web.engine.store().begin_authenticator(me.person.id, &sealed, &act, web.engine.now()).await?;
    Ok(enrolment(&web, &viewer, &me.person, &seed, None))
}

fn enrolment(web: &Web, viewer: &Viewer, person: &User, seed: &[u8], error: Option<&str>) -> Response {
    let host = web.engine.public_url().as_ref().clone().unwrap_or_else(|| "localhost".to_owned());
    let host = host.split("://").last().unwrap_or_default();
    let uri = otpauth(seed, &person.name, host);
    let picture = QRBuilder::new(uri.as_str()).build().map(|code| SvgBuilder::default().to_str(&code)).ok();
    let secret = BASE32_NOPAD.encode(seed);
    let groups: Vec<String> =
        secret.as_bytes().chunks(4).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let code = Field {
        autocomplete: "one-time-code",
        help: "The six digits that the app shows now.",
        error,
        ..Field::new("code", "Code", "text")
    };
    let content = html! {
        p { "Scan this with an authenticator app. It is shown this once." }
        @if let Some(svg) = picture { figure.qr role="img" aria-label="The key as a picture" { (PreEscaped(svg)) } }
        p { "Or type the key: " code { (groups.join(" ")) } }
        form method="post" action={ (HERE) "/authenticator/confirm" } {
            (viewer.csrf_field())
            (code.show())
            p { button.primary type="submit" { "Take it into use" } " All your other sign-ins end." }
        }
    };
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    page_with(status, "Set up an authenticator", &content)
}

/// The first code: the authenticator asks from now on.
pub(crate) async fn confirm_authenticator(
    State(web): State<Arc<Web>>,
    client: Client,
    Changing(viewer): Changing,
    fields: Fields,
) -> Result<Response, PageError> {
    let me = me(&web, &viewer).await?;
    let guess = Guess::Proof(me.person.id);
    if !web.accounts.limits.take(&guess, web.engine.now()) {
        return Err(PageError::too_many());
    }
    let (store, user, now) = (web.engine.store(), me.person.id, web.engine.now());
    let waiting = store.authenticator(user).await?.filter(|known| known.confirmed_at.is_none());
    let Some(Authenticator { seed: sealed, .. }) = waiting else {
        return Err(PageError::new(StatusCode::CONFLICT, "No authenticator waits for its code: begin again."));
    };
    let seed = web.accounts.sealer.open(&sealed, &purpose(user))?;
    let typed = fields.text("code");
    let step = dynowatch_domain::account::totp::accept(typed, now, None, |step| code_of(&seed, step));
    let Some(step) = step else {
        let error = "This is not the code of this moment. Is the clock of your phone right?";
        return Ok(enrolment(&web, &viewer, &me.person, &seed, Some(error)));
    };
    web.accounts.limits.undo(&guess);
    let codes = recovery_codes(user);
    let hashes: Vec<[u8; 32]> = codes.iter().map(|(_, hash)| *hash).collect();
    let act = did(&client, &me, "authenticator.confirm");
    let session = me.signed_in.session;
    let first = FirstCode { seed: &sealed, step, codes: &hashes };
    store.confirm_authenticator(user, session, &first, &act, now).await?;
    Ok(codes_page(codes.into_iter().map(|(text, _)| text).collect()))
}

fn codes_page(codes: Vec<String>) -> Response {
    let content = html! {
        p { "Keep these where you find them when the phone is gone. Each opens once, in place of a code. They are shown this once." }
        ul { @for code in codes { li { code { (code) } } } }
        p { a href=(HERE) { "I have them" } }
    };
    done("Your recovery codes", &content)
}

/// New recovery codes.
pub(crate) async fn new_codes(
    State(web): State<Arc<Web>>,
    client: Client,
    Changing(viewer): Changing,
    fields: Fields,
) -> Result<Response, PageError> {
    let me = me(&web, &viewer).await?;
    if me.person.authenticator_at.is_none() {
        return Err(PageError::new(StatusCode::CONFLICT, "There is no authenticator to recover from."));
    }
    let factor = proof(&web, &client, &me, &fields, false, "new recovery codes").await?;
    let codes = recovery_codes(me.person.id);
    let hashes: Vec<[u8; 32]> = codes.iter().map(|(_, hash)| *hash).collect();
    let act = did(&client, &me, "authenticator.codes");
    web.engine.store().replace_recovery_codes(me.person.id, &factor, &hashes, &act, web.engine.now()).await?;
    Ok(codes_page(codes.into_iter().map(|(text, _)| text).collect()))
}

/// Removes the authenticator: by a code of it, or a recovery code.
pub(crate) async fn remove_authenticator(
    State(web): State<Arc<Web>>,
    client: Client,
    Changing(viewer): Changing,
    fields: Fields,
) -> Result<Response, PageError> {
    let me = me(&web, &viewer).await?;
    if me.person.authenticator_at.is_none() {
        return Ok(see_other(HERE));
    }
    let factor = proof(&web, &client, &me, &fields, true, "removing the authenticator").await?;
    let act = did(&client, &me, "authenticator.remove");
    web.engine.store().remove_authenticator(me.person.id, &factor, None, &act, web.engine.now()).await?;
    Ok(see_other(HERE))
}
