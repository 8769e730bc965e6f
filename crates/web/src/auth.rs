//! Who may read and change.

use sha2::{Digest, Sha256};

/// What the store keeps of an API token: its SHA-256. Tokens are long random texts, so no slow hash is needed.
#[must_use]
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
