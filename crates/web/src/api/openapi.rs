//! The API's own description. Written by the handlers' attributes; open to all, for it holds no secret.

use axum::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::error::ErrorBody;
use super::{alerts, apps, backtest, checks, config, deliveries, drain, heroku, maintenance, receivers, rules, series};

#[derive(OpenApi)]
#[openapi(
    info(title = "dynowatch", description = "Watches Heroku apps by their log drains. Send `Authorization: Bearer TOKEN`; `dynowatch token create` makes a token. Every answer may be 401 without one, 429 with `Retry-After` when a token or an address asks too often, and 503 while the store is away; errors have one form. Text from log lines is masked."),
    paths(
        apps::list, apps::show, apps::rename,
        series::show, series::names, series::paths, series::events, series::dynos,
        alerts::list, alerts::show, alerts::resolve,
        deliveries::list, deliveries::show,
        rules::list, rules::show, rules::disable, rules::enable, backtest::run,
        receivers::list, receivers::test,
        checks::list, checks::show, checks::put, checks::delete, checks::run, checks::pause, checks::resume,
        checks::accept_pin, checks::past::history, checks::past::failures, checks::past::outages, checks::past::uptime,
        checks::past::days, checks::trial::explain, checks::trial::explain_draft, checks::trial::replay,
        maintenance::list, maintenance::show, maintenance::put, maintenance::delete,
        drain::show,
        heroku::status, heroku::sync, heroku::drains, heroku::add, heroku::rotate, heroku::abandon, heroku::proceed,
        heroku::remove, heroku::runtime_metrics,
        config::reload,
        document,
    ),
    components(schemas(ErrorBody)),
    modifiers(&Bearer),
    security(("bearer" = []))
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "openapi", security(()), responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)))]
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::router::{api_routes, open_routes};

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                documented.insert(format!("{} {path}", method.to_uppercase()));
                assert!(
                    !operation["summary"].as_str().unwrap_or_default().is_empty(),
                    "{method} {path} says what it does"
                );
            }
        }
        let routed: BTreeSet<String> = api_routes()
            .into_iter()
            .chain(open_routes())
            .filter(|(_, path, _)| path.starts_with("/api/"))
            .map(|(method, path, _)| format!("{method} {path}"))
            .collect();
        assert_eq!(documented, routed);
    }
}
