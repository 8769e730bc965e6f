//! Hashing passwords: Argon2id with its parameters in the hash, few at a time, and as long for somebody unknown as for
//! somebody known.

use std::sync::Arc;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64_NOPAD;
use dynowatch_engine::random;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

/// Memory of one hash, in KiB: 19 MiB, the least that is recommended (OWASP), because a dyno has 512 MiB.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Hashes at a time: memory that strangers can make us take is bounded.
const AT_A_TIME: usize = 2;
/// Who waits longer is told to come again.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Parameters beyond these are not ours; following them would take the memory they ask for.
const MEMORY_KIB_MAX: u32 = 256 * 1_024;
const PASSES_MAX: u32 = 16;

/// Too many passwords are being hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many people are signing in at this moment: try again in a few seconds")]
pub(crate) struct Busy;

/// Hashes and checks passwords.
pub(crate) struct Passwords {
    places: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// The hash to keep.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, Busy> {
        let password = password.to_owned();
        let salt: [u8; SALT_BYTES] = random::bytes();
        self.away(move || {
            let hash = derive(&password, &salt, MEMORY_KIB, PASSES, LANES);
            hash.map(|hash| phc(&salt, &hash))
        })
        .await?
        .ok_or(Busy)
    }

    /// Whether the password is the one of the hash. Without a hash the answer is no, after as long a time.
    pub(crate) async fn fits(&self, password: &str, hash: Option<&str>) -> Result<bool, Busy> {
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        self.away(move || {
            let known = hash.as_deref().and_then(read);
            let (memory, passes, lanes, salt, want) =
                known.unwrap_or_else(|| (MEMORY_KIB, PASSES, LANES, vec![0; SALT_BYTES], vec![0; HASH_BYTES]));
            let got = derive(&password, &salt, memory, passes, lanes);
            hash.is_some() && got.is_some_and(|got| bool::from(got[..].ct_eq(&want)))
        })
        .await
    }

    async fn away<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let permit = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await;
        let permit = permit.map_err(|_elapsed| Busy)?.map_err(|_closed| Busy)?;
        // The permit goes along: who gives up waiting does not make room for another hash.
        let done = tokio::task::spawn_blocking(move || {
            let out = work();
            drop(permit);
            out
        });
        done.await.map_err(|_panicked| Busy)
    }
}

/// Whether a hash was made with less than what is used today.
pub(crate) fn is_outdated(hash: &str) -> bool {
    read(hash).is_none_or(|(memory, passes, lanes, ..)| (memory, passes, lanes) != (MEMORY_KIB, PASSES, LANES))
}

fn derive(password: &str, salt: &[u8], memory: u32, passes: u32, lanes: u32) -> Option<[u8; HASH_BYTES]> {
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).ok()?;
    let mut out = [0; HASH_BYTES];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(password.as_bytes(), salt, &mut out).ok()?;
    Some(out)
}

fn phc(salt: &[u8], hash: &[u8]) -> String {
    let (salt, hash) = (BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(hash));
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}")
}

/// Memory, passes, lanes, salt, hash.
type Known = (u32, u32, u32, Vec<u8>, Vec<u8>);

/// Parameters, salt and hash of what [`phc`] wrote.
fn read(text: &str) -> Option<Known> {
    let rest = text.strip_prefix("$argon2id$v=19$")?;
    let mut parts = rest.splitn(3, '$');
    let (params, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |name: &str| params.split(',').find_map(|pair| pair.strip_prefix(name)?.parse::<u32>().ok());
    let (memory, passes, lanes) = (number("m=")?, number("t=")?, number("p=")?);
    if memory > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes != 1 {
        return None;
    }
    let decode = |text: &str| BASE64_NOPAD.decode(text.as_bytes()).ok();
    Some((memory, passes, lanes, decode(salt)?, decode(hash)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_fits_its_password_alone() {
        let passwords = Passwords::new();
        let hash = passwords.hash("four words of mine").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.fits("four words of mine", Some(&hash)).await.unwrap());
        assert!(!passwords.fits("four words of mind", Some(&hash)).await.unwrap());
        assert!(!passwords.fits("four words of mine", None).await.unwrap());
        assert!(!passwords.fits("x", Some("$argon2id$v=19$m=4000000,t=2,p=1$AAAA$AAAA")).await.unwrap());
        assert!(!passwords.fits("", Some("")).await.unwrap());
        assert!(!is_outdated(&hash) && is_outdated(&hash.replace("m=19456", "m=8192")) && is_outdated("nonsense"));
    }

    #[tokio::test]
    async fn two_hashes_of_one_password_differ() {
        let passwords = Passwords::new();
        assert_ne!(passwords.hash("same").await.unwrap(), passwords.hash("same").await.unwrap());
    }
}
