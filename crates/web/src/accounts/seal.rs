//! Sealing what must be read again, such as the seed of an authenticator: XChaCha20-Poly1305 under a key that is not in the
//! database. A record names its key, so that keys can be changed: the first one seals, all of them open. What a record is
//! for is sealed in, so that nobody can move it to another row.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use dynowatch_engine::random;
use sha2::{Digest as _, Sha256};

/// The form of a record: this byte, four bytes of key id, a nonce, the ciphertext.
const FORM: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;

/// Why nothing can be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    /// There is no key.
    #[error(
        "this instance has no key to keep secrets with: set DYNOWATCH_SECRET_KEY to what `openssl rand -hex 32` prints, and start it again"
    )]
    NoKey,
    /// The key of the record is not here, or it was tampered with.
    #[error("this cannot be opened: it was sealed with another DYNOWATCH_SECRET_KEY, or it was changed")]
    Unreadable,
}

/// Seals and opens.
pub(crate) struct Sealer {
    keys: Vec<([u8; KEY_ID_BYTES], XChaCha20Poly1305)>,
}

impl Sealer {
    pub(crate) fn new(keys: Vec<[u8; 32]>) -> Self {
        let keyed = keys.into_iter().map(|key| {
            let digest = Sha256::digest(key);
            let mut id = [0; KEY_ID_BYTES];
            id.iter_mut().zip(digest).for_each(|(id, byte)| *id = byte);
            (id, XChaCha20Poly1305::new(&key.into()))
        });
        Self { keys: keyed.collect() }
    }

    /// Whether there is a key.
    pub(crate) fn can_seal(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Seals a secret for one purpose and row, such as `authenticators/seed/ID`.
    pub(crate) fn seal(&self, secret: &[u8], purpose: &str) -> Result<Vec<u8>, SealError> {
        let (id, cipher) = self.keys.first().ok_or(SealError::NoKey)?;
        let nonce: [u8; NONCE_BYTES] = random::bytes();
        let aad = aad(purpose, id);
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: &aad });
        let sealed = sealed.map_err(|_error| SealError::Unreadable)?;
        Ok([&[FORM], &id[..], &nonce, &sealed].concat())
    }

    /// Opens what was sealed for the same purpose and row.
    pub(crate) fn open(&self, record: &[u8], purpose: &str) -> Result<Vec<u8>, SealError> {
        if self.keys.is_empty() {
            return Err(SealError::NoKey);
        }
        let parts = || {
            let (form, rest) = record.split_first()?;
            let (id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>()?;
            let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
            (*form == FORM).then_some((id, nonce, sealed))
        };
        let (id, nonce, sealed) = parts().ok_or(SealError::Unreadable)?;
        let (_, cipher) = self.keys.iter().find(|(known, _)| known == id).ok_or(SealError::Unreadable)?;
        let payload = Payload { msg: sealed, aad: &aad(purpose, id) };
        cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_error| SealError::Unreadable)
    }
}

fn aad(purpose: &str, id: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), b"/", id].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let sealer = Sealer::new(vec![[1; 32]]);
        let record = sealer.seal(b"seed", "authenticators/seed/a").unwrap();
        assert!(!record.windows(4).any(|window| window == b"seed"));
        assert_eq!(sealer.open(&record, "authenticators/seed/a").unwrap(), b"seed");
        assert_eq!(sealer.open(&record, "authenticators/seed/b"), Err(SealError::Unreadable));
        assert_ne!(record, sealer.seal(b"seed", "authenticators/seed/a").unwrap());
        for at in 0..record.len() {
            let mut other = record.clone();
            other[at] ^= 1;
            assert_eq!(sealer.open(&other, "authenticators/seed/a"), Err(SealError::Unreadable), "byte {at}");
        }
        for end in 0..record.len() {
            assert_eq!(sealer.open(&record[..end], "authenticators/seed/a"), Err(SealError::Unreadable));
        }
    }

    #[test]
    fn keys_are_changed_by_putting_one_in_front() {
        let record = Sealer::new(vec![[1; 32]]).seal(b"seed", "x").unwrap();
        assert_eq!(Sealer::new(vec![[2; 32], [1; 32]]).open(&record, "x").unwrap(), b"seed");
        assert_eq!(Sealer::new(vec![[2; 32]]).open(&record, "x"), Err(SealError::Unreadable));
        assert_eq!(Sealer::new(Vec::new()).seal(b"seed", "x"), Err(SealError::NoKey));
    }
}
