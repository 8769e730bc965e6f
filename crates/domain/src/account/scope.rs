//! What a token of the API may.

use std::fmt;

/// A part of what a token may; each stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Looking.
    Read,
    /// Closing alerts, switching rules off and on, renaming apps, trying receivers.
    Operate,
    /// Reading the configuration again.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// The name used in the store, the CLI and the pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// What a token may, and for which apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes {
    /// What it may, without doubles, in the order of [`Scope::ALL`].
    pub scopes: Vec<Scope>,
    /// The names of the apps it is for; none means all, and what concerns no app.
    pub apps: Vec<String>,
}

impl Scopes {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self { scopes: Scope::ALL.to_vec(), apps: Vec::new() }
    }

    /// Reads words such as `read operate`; anything but a scope is refused.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn read(words: &str) -> Result<Vec<Scope>, String> {
        let mut scopes = Vec::new();
        for word in words.split([' ', ',']).filter(|word| !word.is_empty()) {
            let scope =
                Scope::named(word).ok_or_else(|| format!("{word:?} is no scope: write read, operate or admin"))?;
            scopes.push(scope);
        }
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err("a token needs a scope: read, operate or admin".to_owned());
        }
        Ok(scopes)
    }

    /// Whether it may do that at all.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it is for that app.
    #[must_use]
    pub fn covers(&self, app: &str) -> bool {
        self.apps.is_empty() || self.apps.iter().any(|known| known == app)
    }

    /// The words that [`Scopes::read`] reads.
    #[must_use]
    pub fn words(&self) -> String {
        self.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())?;
        if !self.apps.is_empty() {
            write!(f, " of {}", self.apps.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_or_refused() {
        assert_eq!(Scopes::read("operate,read read").unwrap(), [Scope::Read, Scope::Operate]);
        assert!(Scopes::read("").is_err() && Scopes::read("read root").is_err());
        let some = Scopes { scopes: vec![Scope::Read], apps: vec!["shop".into()] };
        assert!(some.covers("shop") && !some.covers("shop-2") && !some.may(Scope::Operate));
        assert!(Scopes::all().covers("anything") && Scopes::all().may(Scope::Admin));
        assert_eq!(some.to_string(), "read of shop");
    }
}
