//! People, sign-ins, questions and the audit log, on both engines, with others at the same rows.

use std::time::Duration;

use dynowatch_domain::account::Role;
use dynowatch_domain::account::audit::{Actor, Verifier};
use dynowatch_store::StoreError;
use dynowatch_store::accounts::{Confirmed, Factor, FirstCode, NewChallenge, NewSession, NewUser};
use dynowatch_store::audit::{AuditFilter, audit_hash};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::bed::{Bed, act, id, t, token};

async fn person(bed: &Bed, name: &str, role: Role) -> Uuid {
    let new = NewUser { id: id(), name: name.into(), role, password_hash: None };
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(new.id.as_bytes());
    bed.store.invite(&new, hash, t(1_000), None, &act(), t(0)).await.unwrap();
    bed.store.use_link(&hash, new.id, "$argon2id$none", &act(), t(1)).await.unwrap();
    new.id
}

fn session(n: u8) -> NewSession {
    NewSession { id: id(), token_hash: [n; 32], address: "203.0.113.9".into(), agent: "test".into() }
}

async fn begin(bed: &Bed, user: Uuid, n: u8) -> Uuid {
    let new = session(n);
    bed.store.begin_session(user, &new, None, &Factor::None, &act(), t(2)).await.unwrap();
    new.id
}

/// Changes the file or database behind the store's back.
async fn meddle(bed: &Bed, sql: &'static str) -> Result<(), sqlx::Error> {
    if bed.options.url.starts_with("sqlite") {
        let mut conn = SqliteConnection::connect(&bed.options.url).await?;
        conn.execute(sql).await.map(drop)
    } else {
        let mut conn = PgConnection::connect(&bed.options.url).await?;
        conn.execute(sql).await.map(drop)
    }
}

async fn walk(bed: &Bed) -> Result<i64, String> {
    let (mut verifier, mut at) = (Verifier::default(), 0);
    loop {
        let entries = bed.store.audit_after(at, 7).await.unwrap();
        let Some(last) = entries.last() else { break };
        at = last.seq;
        for entry in &entries {
            verifier.take(entry, audit_hash).map_err(|broken| broken.to_string())?;
        }
    }
    Ok(verifier.head().map_or(0, |(seq, _)| seq))
}

pub(crate) async fn the_log_is_only_added_to_and_meddling_shows(bed: &Bed) {
    let other = bed.again().await;
    let writers = (0..4).map(|n| {
        let store = if n % 2 == 0 { bed.store.clone() } else { other.clone() };
        tokio::spawn(async move {
            for i in 0..10 {
                let act = Actor::here(format!("cli:{n}")).did("test.act", format!("{i}"));
                store.audit(&act, t(i)).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(walk(bed).await, Ok(40), "one chain, whoever adds to it");
    for sql in ["UPDATE audit SET actor = 'cli:eve' WHERE seq = 5", "DELETE FROM audit WHERE seq = 5"] {
        let refused = meddle(bed, sql).await.unwrap_err().to_string();
        assert!(refused.contains("only ever added to"), "{refused}");
    }
    let filter = AuditFilter { actor: Some("cli:2".into()), action: Some("test.".into()), ..AuditFilter::default() };
    assert_eq!(bed.store.audit_entries(&filter, 100).await.unwrap().len(), 10);
    // Who owns the database can take the guard away; then the chain tells.
    let guard = if bed.options.url.starts_with("sqlite") {
        "DROP TRIGGER audit_is_never_changed"
    } else {
        "ALTER TABLE audit DISABLE TRIGGER audit_is_never_changed"
    };
    meddle(bed, guard).await.unwrap();
    meddle(bed, "UPDATE audit SET actor = 'cli:eve' WHERE seq = 5").await.unwrap();
    assert!(walk(bed).await.unwrap_err().contains("entry 5 was changed"));
}

pub(crate) async fn a_change_and_its_entry_are_one(bed: &Bed) {
    let ada = person(bed, "ada", Role::Superadmin).await;
    let before = walk(bed).await.unwrap();
    // Refused: the last superadmin. Nothing is written of a change that did not happen.
    let refused = bed.store.set_role(ada, Role::Viewer, None, &act(), t(3)).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict(text) if text.contains("last superadmin")), "{refused}");
    assert_eq!(walk(bed).await.unwrap(), before);
    // Two superadmins who make each other less at the same moment: one of them stays.
    let bob = person(bed, "bob", Role::Superadmin).await;
    let other = bed.again().await;
    let now = act();
    let (one, two) = tokio::join!(
        bed.store.set_role(ada, Role::Viewer, None, &now, t(4)),
        other.set_role(bob, Role::Viewer, None, &now, t(4))
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let left = bed.store.users().await.unwrap();
    assert_eq!(left.iter().filter(|user| user.role == Role::Superadmin).count(), 1);
}

pub(crate) async fn a_code_is_used_once_in_any_race(bed: &Bed) {
    let ada = person(bed, "ada", Role::Viewer).await;
    let here = begin(bed, ada, 1).await;
    bed.store.begin_authenticator(ada, b"sealed", &act(), t(3)).await.unwrap();
    let first = FirstCode { seed: b"sealed", step: 100, codes: &[[7; 32]] };
    bed.store.confirm_authenticator(ada, here, &first, &act(), t(3)).await.unwrap();
    assert!(bed.store.begin_authenticator(ada, b"another", &act(), t(4)).await.is_err(), "one in use stays");
    let other = bed.again().await;
    for factor in [Factor::Step(101), Factor::Recovery([7; 32])] {
        let tries = (0..8).map(|n| {
            let store = if n % 2 == 0 { bed.store.clone() } else { other.clone() };
            let factor = factor.clone();
            tokio::spawn(async move {
                store
                    .begin_session(
                        ada,
                        &session(10 + n + u8::from(factor == Factor::Step(101)) * 20),
                        None,
                        &factor,
                        &act(),
                        t(5),
                    )
                    .await
                    .is_ok()
            })
        });
        let mut won = 0;
        for one in tries.collect::<Vec<_>>() {
            won += u32::from(one.await.unwrap());
        }
        assert_eq!(won, 1, "{factor:?}");
    }
    let stale = bed.store.begin_session(ada, &session(99), None, &Factor::Step(100), &act(), t(6)).await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))), "an earlier step is over");
    assert_eq!(bed.store.authenticator(ada).await.unwrap().unwrap().last_step, Some(101));
}

pub(crate) async fn shut_out_means_everywhere_at_once(bed: &Bed) {
    let (ada, bob) = (person(bed, "ada", Role::Superadmin).await, person(bed, "bob", Role::Superadmin).await);
    begin(bed, bob, 2).await;
    let mut theirs = token(id(), "bobs", 3);
    theirs.user = Some(bob);
    bed.store.create_api_token(&theirs, None, &act(), t(2)).await.unwrap();
    assert!(bed.store.session(&[2; 32], t(3)).await.unwrap().is_some());
    assert!(bed.store.find_api_token(&[3; 32], t(3)).await.unwrap().is_some());
    bed.store.set_disabled(bob, true, None, &act(), t(4)).await.unwrap();
    assert!(bed.again().await.session(&[2; 32], t(4)).await.unwrap().is_none());
    assert!(bed.store.find_api_token(&[3; 32], t(4)).await.unwrap().is_none());
    assert!(bed.store.begin_session(bob, &session(4), None, &Factor::None, &act(), t(5)).await.is_err());
    assert!(bed.store.set_disabled(ada, true, None, &act(), t(6)).await.is_err(), "the last one");
    // A sign-in that is thirty days old is none.
    begin(bed, ada, 5).await;
    assert!(bed.store.session(&[5; 32], t(2) + Duration::from_secs(30 * 86_400 - 1)).await.unwrap().is_some());
    assert!(bed.store.session(&[5; 32], t(2) + Duration::from_secs(30 * 86_400)).await.unwrap().is_none());
}

pub(crate) async fn a_confirmation_is_used_up_with_its_change(bed: &Bed) {
    let (ada, bob) = (person(bed, "ada", Role::Superadmin).await, person(bed, "bob", Role::Viewer).await);
    let here = begin(bed, ada, 1).await;
    let new = NewChallenge {
        token_hash: [9; 32],
        kind: "confirm",
        user: Some(ada),
        session: Some(here),
        digest: Some([8; 32]),
        detail: String::new(),
        expires_at: t(300),
    };
    let good = Confirmed { token_hash: [9; 32], user: ada, session: here, digest: [8; 32], factor: Factor::None };
    bed.store.put_challenge(&new, t(3)).await.unwrap();
    for wrong in [
        Confirmed { digest: [7; 32], ..good.clone() },
        Confirmed { user: bob, ..good.clone() },
        Confirmed { session: id(), ..good.clone() },
        Confirmed { token_hash: [6; 32], ..good.clone() },
    ] {
        assert!(bed.store.set_role(bob, Role::Operator, Some(&wrong), &act(), t(4)).await.is_err(), "{wrong:?}");
    }
    assert!(bed.store.set_role(bob, Role::Operator, Some(&good), &act(), t(300)).await.is_err(), "too late");
    bed.store.set_role(bob, Role::Operator, Some(&good), &act(), t(299)).await.unwrap();
    assert!(bed.store.set_role(bob, Role::Viewer, Some(&good), &act(), t(299)).await.is_err(), "used");
    // Five wrong answers, and it waits no more.
    bed.store.put_challenge(&new, t(3)).await.unwrap();
    for _ in 0..5 {
        assert!(bed.store.challenge(&[9; 32], "confirm", t(4)).await.unwrap().is_some());
        bed.store.fail_challenge(&[9; 32]).await.unwrap();
    }
    assert_eq!(bed.store.challenge(&[9; 32], "confirm", t(4)).await.unwrap(), None);
    assert!(bed.store.set_role(bob, Role::Viewer, Some(&good), &act(), t(5)).await.is_err());
}

pub(crate) async fn the_first_account_is_made_once(bed: &Bed) {
    bed.store.make_setup_link([1; 32], t(1_800), &act(), t(0)).await.unwrap();
    let other = bed.again().await;
    let new =
        |name: &str| NewUser { id: id(), name: name.into(), role: Role::Superadmin, password_hash: Some("x".into()) };
    let (ada, eve, entry) = (new("ada"), new("eve"), act());
    let (here, there) = (session(1), session(2));
    let (one, two) = tokio::join!(
        bed.store.set_up(&[1; 32], &ada, &here, &entry, t(5)),
        other.set_up(&[1; 32], &eve, &there, &entry, t(5))
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(bed.store.users().await.unwrap().len(), 1);
    let late = bed.store.make_setup_link([2; 32], t(1_800), &act(), t(6)).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))));
}
