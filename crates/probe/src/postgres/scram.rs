//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as Postgres speaks it: the client's two messages and the check of the server's
//! proof. Owns the arithmetic; messages travel by `login`. Channel binding is not used: the certificate was judged before.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// More rounds would let a hostile server burn our time: Postgres's default is 4096.
const ROUNDS_MAX: u32 = 200_000;

/// The exchange after the first message was sent.
pub(super) struct Scram {
    nonce: String,
    password: String,
}

/// What cannot be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadChallenge(pub(super) &'static str);

impl Scram {
    /// `nonce`: printable, never used before.
    pub(super) fn new(password: &str, nonce: String) -> Self {
        // What cannot be prepared is taken as it is, as Postgres does.
        let password =
            stringprep::saslprep(password).map_or_else(|_| password.to_owned(), |prepared| prepared.into_owned());
        Self { nonce, password }
    }

    /// The first message. The user's name is left out: Postgres takes that of the start message.
    pub(super) fn first(&self) -> String {
        format!("n,,n=,r={}", self.nonce)
    }

    /// The answer to the server's first message, and the proof that the server must give.
    pub(super) fn answer(&self, challenge: &str) -> Result<(String, String), BadChallenge> {
        let field = |name: char| challenge.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let nonce =
            field('r').filter(|nonce| nonce.starts_with(&self.nonce)).ok_or(BadChallenge("its nonce is not ours"))?;
        let salt =
            field('s').and_then(|salt| BASE64.decode(salt.as_bytes()).ok()).ok_or(BadChallenge("it has no salt"))?;
        let rounds: u32 = field('i').and_then(|rounds| rounds.parse().ok()).ok_or(BadChallenge("it has no rounds"))?;
        if rounds == 0 || rounds > ROUNDS_MAX {
            return Err(BadChallenge("it asks for too many rounds"));
        }
        let salted = salted(self.password.as_bytes(), &salt, rounds);
        let client_key = mac(&salted, &[b"Client Key"]);
        // "biws" is "n,," in base 64: no channel binding.
        let without_proof = format!("c=biws,r={nonce}");
        let authenticated = format!("n=,r={},{challenge},{without_proof}", self.nonce);
        let signature = mac(&Sha256::digest(client_key), &[authenticated.as_bytes()]);
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        let server_key = mac(&salted, &[b"Server Key"]);
        let expected = mac(&server_key, &[authenticated.as_bytes()]);
        Ok((format!("{without_proof},p={}", BASE64.encode(&proof)), format!("v={}", BASE64.encode(&expected))))
    }
}

/// `Hi()` of RFC 5802: PBKDF2 with one block.
fn salted(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let mut last = mac(password, &[salt, &[0, 0, 0, 1]]);
    let mut sum = last;
    for _ in 1..rounds {
        last = mac(password, &[&last]);
        for (sum, last) in sum.iter_mut().zip(last) {
            *sum ^= last;
        }
    }
    sum
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes a key of any length; without one there is nothing to authenticate, and the server refuses.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3, with its user name taken out of the authenticated text: so proofs differ, and
    /// are checked against a real server elsewhere. What is checked here is that nothing else is accepted.
    #[test]
    fn challenges_that_are_not_ours_are_refused() {
        let scram = Scram::new("pencil", "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(scram.first(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
        let good = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert!(scram.answer(good).unwrap().0.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvY"));
        for (challenge, why) in [
            (good.replacen("rOpr", "xOpr", 1), "its nonce is not ours"),
            (good.replace("s=W22", "s=!"), "it has no salt"),
            (good.replace(",i=4096", ""), "it has no rounds"),
            (good.replace("i=4096", "i=4000000"), "it asks for too many rounds"),
            (String::new(), "its nonce is not ours"),
        ] {
            assert_eq!(scram.answer(&challenge).unwrap_err(), BadChallenge(why), "{challenge}");
        }
    }

    #[test]
    fn passwords_are_salted_as_the_standard_says() {
        // RFC 7677's example salts "pencil" like this.
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let key = mac(&salted(b"pencil", &salt, 4096), &[b"Client Key"]);
        let auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = mac(&Sha256::digest(key), &[auth.as_bytes()]);
        let proof: Vec<u8> = key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        assert_eq!(BASE64.encode(&proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    }
}
