//! What the making, changing and deleting of objects has in common, whatever they are: checks, maintenance windows. Names
//! of the file win, and are changed there.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use dynowatch_domain::account::audit;
use dynowatch_engine::objects::ObjectError;
use dynowatch_store::StoreError;
use dynowatch_store::objects::ObjectKind;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::ApiError;
use crate::router::Web;

/// An object as it stands in the configuration file, but for its name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// The body of the object of that name. A name in it must be the same.
    pub(crate) fn of(mut self, name: &str) -> Result<Value, ApiError> {
        match self.0.remove("name") {
            Some(other) if other != name => {
                Err(ApiError::bad_request(&format!("name: it is {name:?} by its address; leave it out of the body")))
            }
            _ => Ok(Value::Object(self.0)),
        }
    }
}

/// Names of the objects that were made here, and not in the file.
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    pub(crate) async fn of(web: &Web, kind: ObjectKind) -> Result<Self, StoreError> {
        Ok(Self(web.engine.store().objects(kind).await?.into_iter().map(|object| object.name).collect()))
    }

    pub(crate) fn origin(&self, name: &str) -> &'static str {
        if self.0.contains(name) { "store" } else { "file" }
    }
}

/// Makes or changes an object. `in_force`: there is one of that name, from wherever.
pub(crate) async fn put(
    web: &Web,
    kind: ObjectKind,
    name: &str,
    body: Body,
    in_force: bool,
    by: &audit::Actor,
) -> Result<StatusCode, ApiError> {
    let body = body.of(name)?;
    let known = Names::of(web, kind).await?.0.contains(name);
    if in_force && !known {
        return Err(of_the_file(name));
    }
    web.engine.save_object(kind, name, &body, by, !known).await?;
    Ok(if known { StatusCode::OK } else { StatusCode::CREATED })
}

/// Deletes an object.
pub(crate) async fn delete(
    web: &Web,
    kind: ObjectKind,
    name: &str,
    in_force: bool,
    by: &audit::Actor,
) -> Result<(), ApiError> {
    if web.engine.delete_object(kind, name, by).await? {
        return Ok(());
    }
    Err(if in_force { of_the_file(name) } else { ApiError::not_found(&format!("nothing is named {name:?} here")) })
}

fn of_the_file(name: &str) -> ApiError {
    let why = format!("{name:?} stands in the configuration file: change it there");
    ApiError::new(StatusCode::CONFLICT, "conflict", &why)
}

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Store(error) => error.into(),
            ObjectError::FileOnly => Self::new(StatusCode::CONFLICT, "conflict", &ObjectError::FileOnly.to_string()),
            ObjectError::Wrong(problems) => {
                let at = |problem: &dynowatch_engine::objects::Problem| match problem.key.as_str() {
                    "" => problem.text.clone(),
                    key => format!("{key}: {}", problem.text),
                };
                Self::bad_request(&problems.iter().map(at).collect::<Vec<_>>().join("; "))
            }
        }
    }
}
