//! `backup` and `restore`: the whole store in a file, and back.

use std::path::Path;

use dynowatch_store::{Store, StoreOptions};
use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::out::grouped;

/// Writes the store to a file.
pub(crate) async fn backup(ctx: &mut Context, file: &Path) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let store = ctx.store(&config).await?;
    let moved = store.backup(file).await?;
    store.close().await;
    if ctx.json {
        return ctx.out.json(&json!({ "file": file.display().to_string(), "rows": moved.rows }));
    }
    ctx.out.line(format!("{} rows of {} written to {}", grouped(moved.rows), config.database_url, file.display()))
}

/// Reads a file into an empty store.
pub(crate) async fn restore(ctx: &mut Context, file: &Path) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let mut options = StoreOptions::new(config.database_url.as_str());
    options.metrics_bytes_max = config.metrics_bytes_max;
    let moved = Store::restore(file, &options).await?;
    if ctx.json {
        return ctx.out.json(&json!({ "file": file.display().to_string(), "rows": moved.rows }));
    }
    ctx.out.line(format!("{} rows of {} restored into {}", grouped(moved.rows), file.display(), config.database_url))
}
