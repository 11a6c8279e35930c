//! The admin HTTP API: health, metrics, the plans of all cores, the topology; JSON or a page.
pub use listen::AdminDoor;

use crate::Error;
use crate::owner::How;
use crate::plane::Command;
use crate::topology::Kind;
use crate::view::Shared;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use coregate_planner::vschema;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

mod api;
mod listen;
mod lookups;
mod metrics;
mod openapi;
mod pages;
mod processes;
mod reparent;
mod servers;
mod sessions;
mod topology;
mod transactions;
mod validate;

/// What the API asks the control plane's loop for.
pub(crate) enum Request {
    Reload,
    ApplyVschema { keyspace: String, vschema: vschema::Keyspace },
    ApplyRules(vschema::RoutingRules),
    DeleteKeyspace(String),
    ApplySchema { keyspace: String, sql: String },
    Reparent { keyspace: String, shard: String, how: How },
    SetKind { alias: String, kind: Kind },
    DisableRecoveries(bool),
    Externalize { keyspace: String, vindex: String },
}

#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
}

/// The largest body that is read, in bytes.
const MAX_BODY: usize = 16 << 20;

/// Binds the address, unless there is a door already, and serves it in the background. Gives the
/// address, with the port that was bound.
pub(crate) async fn listen(
    address: SocketAddr,
    door: Option<AdminDoor>,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
) -> Result<SocketAddr, Error> {
    let fail = |source| Error::AdminListen { address, source };
    let listener = match &door {
        Some(door) => door.open().map_err(fail)?,
        None => tokio::net::TcpListener::bind(address).await.map_err(fail)?,
    };
    let bound = listener.local_addr().map_err(fail)?;
    let app = router(Admin { shared, commands });
    tokio::spawn(listen::serve(listener, app, door));
    Ok(bound)
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/debug/health", get(readyz))
        .route("/metrics", get(metrics::prometheus))
        .route("/queryz", get(pages::queryz))
        .route("/debug/query_plans", get(pages::queryz))
        .route("/debug/vars", get(metrics::vars))
        .route("/debug/status", get(pages::status))
        .route("/api/ping", get(api::ping))
        .route("/api/keyspaces", get(api::keyspaces))
        .route("/api/keyspaces/{keyspace}", get(api::keyspace).delete(api::delete_keyspace))
        .route("/api/keyspaces/{keyspace}/shards", get(api::shards))
        .route("/api/keyspaces/{keyspace}/shards/{shard}", get(api::shard))
        .route("/api/keyspaces/{keyspace}/schema", get(api::schema).post(api::apply_schema))
        .route("/api/keyspaces/{keyspace}/schema/progress", get(api::schema_progress))
        .route("/api/keyspaces/{keyspace}/vschema", get(api::vschema).put(api::apply_vschema))
        .route(
            "/api/keyspaces/{keyspace}/lookup-vindexes/{name}",
            get(lookups::show).post(lookups::create),
        )
        .route("/api/keyspaces/{keyspace}/lookup-vindexes/{name}/verify", post(lookups::verify))
        .route(
            "/api/keyspaces/{keyspace}/lookup-vindexes/{name}/externalize",
            post(lookups::externalize),
        )
        .route("/api/routing-rules", get(api::rules).put(api::apply_rules))
        .route("/api/tablets", get(api::tablets))
        .route("/api/tablets/{alias}", get(servers::tablet))
        .route("/api/tablets/{alias}/health-check", post(servers::health_check))
        .route("/api/tablets/{alias}/full-status", get(servers::full_status))
        .route("/api/tablets/{alias}/writable", put(servers::set_writable))
        .route("/api/tablets/{alias}/start-replication", post(servers::start_replication))
        .route("/api/tablets/{alias}/stop-replication", post(servers::stop_replication))
        .route("/api/cells", get(topology::cells))
        .route("/api/topology", get(topology::root))
        .route("/api/topology/{*path}", get(topology::path))
        .route("/api/validate", get(validate::validate))
        .route("/api/openapi.json", get(openapi::document))
        .route("/api/tablets/{alias}/type", put(reparent::change_type))
        .route("/api/keyspaces/{keyspace}/shards/{shard}/planned-reparent", post(reparent::planned))
        .route(
            "/api/keyspaces/{keyspace}/shards/{shard}/emergency-reparent",
            post(reparent::emergency),
        )
        .route("/api/sessions", get(sessions::list))
        .route("/api/statements", get(pages::statements))
        .route("/api/processes", get(processes::list))
        .route("/api/recoveries", get(reparent::recoveries).put(reparent::switch))
        .route("/api/replication-analysis", get(reparent::problems))
        .route("/api/transactions", get(transactions::list))
        .route("/api/transactions/{id}", get(transactions::info))
        .route("/api/transactions/{id}/conclude", post(transactions::conclude))
        .route("/api/reload", post(api::reload))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is no such page; / lists them") })
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(admin.clone(), guard))
        .with_state(admin)
}

/// The token, if there is one; and no changes by a page of another site in the user's browser.
async fn guard(State(admin): State<Admin>, request: HttpRequest, next: Next) -> Response<Body> {
    if admin.shared.token.is_none() && !names_us(request.headers()) {
        return error(
            StatusCode::FORBIDDEN,
            "the Host header must be an address or localhost; to use another name, set \
                server.admin_token",
        );
    }
    // The page holds no data: it asks for the token itself.
    let open = matches!(request.uri().path(), "/" | "/healthz" | "/readyz");
    if let (Some(token), false) = (&admin.shared.token, open) {
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|h| h.to_str().ok());
        if !given
            .and_then(|h| h.strip_prefix("Bearer "))
            .is_some_and(|g| same(g.as_bytes(), token.as_bytes()))
        {
            return error(StatusCode::UNAUTHORIZED, "send the token: Authorization: Bearer TOKEN");
        }
    }
    // Another site's page cannot know the token. Without one, it could do what it likes in its
    // visitor's name.
    let is_page = request.headers().contains_key(header::ORIGIN);
    if request.method() != Method::GET && is_page && admin.shared.token.is_none() {
        return error(
            StatusCode::FORBIDDEN,
            "changes are taken from web pages only with a token: set server.admin_token",
        );
    }
    match listen::whole(request, MAX_BODY).await {
        Ok(request) => next.run(request).await,
        Err((status, why)) => error(status, why),
    }
}

/// A page of another site reaches a loopback address under a name of its own (DNS rebinding); under
/// an address it cannot.
fn names_us(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|n| n.strip_suffix(']'))
        .unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

/// Takes the same time wherever the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

/// An error as JSON.
pub(crate) fn error(status: StatusCode, message: impl ToString) -> Response<Body> {
    (status, axum::Json(json!({"error": message.to_string()}))).into_response()
}

/// Did the client ask for JSON?
pub(crate) fn wants_json(headers: &HeaderMap, query: Option<&str>) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default();
    accept.contains("application/json")
        || query
            .unwrap_or_default()
            .split('&')
            .any(|p| p == "format=json")
}

/// The process is there.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Queries can be sent.
async fn readyz(State(admin): State<Admin>) -> Response<Body> {
    if admin.shared.draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match admin.shared.data() {
        Some(_) => {
            let mut text = "ok\n".to_owned();
            for line in admin.shared.missing_lines() {
                text.push_str(&format!("missing: {line}\n"));
            }
            if let Some(why) = admin.shared.roster().and_then(|roster| roster.away) {
                text.push_str(&format!(
                    "missing: the topology's store, the last state serves: {why}\n"
                ));
            }
            text.into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
    }
}

/// What all status pages begin with.
pub(crate) fn status_json(shared: &Shared) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_s": shared.started.elapsed().as_secs(),
        "mysql": shared.mysql().map(|a| a.to_string()),
        "snapshot_version": shared.snapshot().version,
        "draining": shared.draining(),
        "token_required": shared.token.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_localhost() {
        let of = |host: &'static str| {
            names_us(&HeaderMap::from_iter([(
                header::HOST,
                header::HeaderValue::from_static(host),
            )]))
        };
        for good in [
            "127.0.0.1:3380",
            "127.0.0.1",
            "localhost:1",
            "LOCALHOST",
            "[::1]:3380",
            "[::1]",
            "10.1.2.3",
        ] {
            assert!(of(good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:3380",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "",
            "a:b",
        ] {
            assert!(!of(bad), "{bad}");
        }
        assert!(names_us(&HeaderMap::new()));
    }
}
