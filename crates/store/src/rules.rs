//! Rules that someone quieted for a while (`rules disable NAME --for 2h`). The rules themselves are in the file.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;

use crate::accounts::exec;
use crate::audit::append;
use crate::db::{CALL_MAX, read, within};
use crate::error::Result;
use crate::open::Store;
use crate::text::{clean, time};

/// A rule that is quiet for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleOverride {
    /// The rule's name.
    pub rule: String,
    /// Until when.
    pub disabled_until: Timestamp,
    /// Who wanted it, as far as known.
    pub by_whom: String,
    /// Since when.
    pub created_at: Timestamp,
}

impl Store {
    /// Quiets a rule; a second word replaces the first.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn disable_rule(&self, new: &RuleOverride, act: &Act) -> Result<()> {
        let sql = "INSERT INTO rule_overrides (rule, disabled_until, by_whom, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (rule) DO UPDATE \
                   SET disabled_until = excluded.disabled_until, by_whom = excluded.by_whom, created_at = excluded.created_at";
        let (until, at) = (new.disabled_until.as_micros(), new.created_at.as_micros());
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            exec!(&mut tx, sqlx::query(sql).bind(clean(&new.rule)).bind(until).bind(clean(&new.by_whom)).bind(at));
            append(&mut tx, act, new.created_at).await?;
            tx.commit().await
        })
        .await
    }

    /// Ends the quiet of a rule. Returns whether it was quiet.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn enable_rule(&self, rule: &str, act: &Act, now: Timestamp) -> Result<bool> {
        let sql = "DELETE FROM rule_overrides WHERE rule = $1";
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let done = exec!(&mut tx, sqlx::query(sql).bind(rule));
            append(&mut tx, act, now).await?;
            tx.commit().await?;
            Ok(done > 0)
        })
        .await
    }

    /// The rules that are quiet at `now`, by name.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn disabled_rules(&self, now: Timestamp) -> Result<Vec<RuleOverride>> {
        let sql = "SELECT rule, disabled_until, by_whom, created_at FROM rule_overrides WHERE disabled_until > $1 ORDER BY rule";
        let rows: Vec<(String, i64, String, i64)> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(now.as_micros()).fetch_all(pool))?;
        let read = |(rule, until, by_whom, at)| RuleOverride {
            rule,
            disabled_until: time(until),
            by_whom,
            created_at: time(at),
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
