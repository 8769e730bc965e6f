//! Roles: what a person may do, each with all that those before it may; and the table of what asks for which.

/// Something a person does, as the table of permissions knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Looking at alerts, charts, apps, rules, deliveries.
    Read,
    /// Changing one's own password, authenticator, sessions, zone, theme.
    OwnAccount,
    /// Closing alerts, switching rules off and on, renaming apps, trying receivers, revealing a line.
    Operate,
    /// Reading the configuration again.
    Configure,
    /// People: inviting, roles, switching off, resets.
    Users,
    /// Tokens of the API.
    Tokens,
    /// The audit log.
    Audit,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::OwnAccount, Self::Operate, Self::Configure, Self::Users, Self::Tokens, Self::Audit];

    /// The least role that may.
    #[must_use]
    pub fn needs(self) -> Role {
        match self {
            Self::Read | Self::OwnAccount => Role::Viewer,
            Self::Operate => Role::Operator,
            Self::Configure | Self::Users | Self::Tokens | Self::Audit => Role::Superadmin,
        }
    }

    /// Whether each such change is confirmed by its own: a code of the authenticator or the password, bound to what is
    /// changed.
    #[must_use]
    pub fn is_confirmed(self) -> bool {
        matches!(self, Self::Users | Self::Tokens)
    }
}

/// What a person may do. Ordered: a later role may do all that an earlier one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Changes what the instance does: closes alerts, writes rules, reveals lines.
    Operator,
    /// Changes who may do what: people, tokens, receivers' secrets, drains.
    Superadmin,
}

impl Role {
    /// All, from the weakest.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Superadmin];

    /// The name used in the store, the CLI and the pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Superadmin => "superadmin",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// How pages look to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the person's system has it.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// The name used in the store and the pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_role_may_what_an_earlier_may() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Superadmin);
        assert!(Role::ALL.is_sorted());
    }

    #[test]
    fn the_table_of_permissions() {
        // Act, then whether a viewer, an operator, a superadmin may, and whether it is confirmed.
        let table = [
            (Act::Read, [true, true, true], false),
            (Act::OwnAccount, [true, true, true], false),
            (Act::Operate, [false, true, true], false),
            (Act::Configure, [false, false, true], false),
            (Act::Users, [false, false, true], true),
            (Act::Tokens, [false, false, true], true),
            (Act::Audit, [false, false, true], false),
        ];
        assert_eq!(table.len(), Act::ALL.len());
        for (act, may, confirmed) in table {
            assert_eq!(Role::ALL.map(|role| role >= act.needs()), may, "{act:?}");
            assert_eq!(act.is_confirmed(), confirmed, "{act:?}");
        }
    }

    #[test]
    fn names_come_back() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.as_str()), Some(role));
        }
        for theme in Theme::ALL {
            assert_eq!(Theme::named(theme.as_str()), Some(theme));
        }
        assert_eq!((Role::named("root"), Theme::named("")), (None, None));
    }
}
