//! People and what they may do, as data and functions: roles and the table of what each may ([`role`]), passwords that are
//! refused ([`password`]), codes of an authenticator ([`totp`]), how long a sign-in lasts ([`session`]), what a token may
//! ([`scope`]), and the form of the audit log ([`audit`]). Hashing and randomness come in as arguments; what is kept of an
//! account is the store's, who sends a request is the web's.

pub mod audit;
pub mod password;
pub mod role;
pub mod scope;
pub mod session;
pub mod totp;

pub use role::{Role, Theme};
pub use scope::{Scope, Scopes};

/// The longest name of a person, in bytes.
pub const USER_NAME_BYTES_MAX: usize = 64;

/// The name of a person in the form it is kept: lower case, without blanks around it.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn user_name(text: &str) -> Result<String, String> {
    let name = text.trim().to_lowercase();
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
    if name.is_empty() || name.len() > USER_NAME_BYTES_MAX || !name.chars().all(good) {
        return Err(format!(
            "a name has 1 to {USER_NAME_BYTES_MAX} letters (a to z), digits, and - _ . @ +, as in ada or ada@example.com"
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people() {
        for (text, want) in [
            ("ada", Some("ada")),
            (" Ada@Example.com ", Some("ada@example.com")),
            ("", None),
            ("a b", None),
            ("ada\u{202e}", None),
            ("ädä", None),
            (&"x".repeat(65), None),
        ] {
            assert_eq!(user_name(text).ok().as_deref(), want, "{text:?}");
        }
    }
}
