//! Is each server there, may it be written to, how far behind is it?
use crate::Error;
use crate::backend::PATIENCE;
use crate::shared::Shared;
use coregate_planner::snapshot::{Tablet, TabletKind};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Time between two checks of a tablet.
const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Not looked at yet.
    Unknown,
    Serving,
    /// It answers, but not as it should: a primary that is read-only, a replica that does not replicate.
    NotServing,
    Unreachable,
}

#[derive(Debug, Clone, Serialize)]
pub struct Health {
    pub state: State,
    pub read_only: Option<bool>,
    /// Replicas: seconds behind the primary, as the server itself says.
    pub lag_s: Option<u64>,
    /// Why it does not serve.
    pub message: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: State::Unknown, read_only: None, lag_s: None, message: None }
    }
}

/// Checks all tablets again and again; connections are kept.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut conns: BTreeMap<String, Conn> = BTreeMap::new();
    loop {
        let tablets = shared.tablets();
        conns.retain(|alias, _| tablets.iter().any(|t| t.alias == *alias));
        for tablet in tablets {
            let conn = conns.remove(&tablet.alias);
            let (health, conn) = match tokio::time::timeout(PATIENCE, check(&shared, &tablet, conn)).await {
                Ok(Ok((health, conn))) => (health, Some(conn)),
                Ok(Err(health)) => (health, None),
                Err(_) => (down(format!("no answer within {} s", PATIENCE.as_secs())), None),
            };
            if let Some(conn) = conn {
                conns.insert(tablet.alias.clone(), conn);
            }
            shared.set_health(&tablet.alias, health);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn down(message: String) -> Health {
    Health { state: State::Unreachable, message: Some(message), ..Health::default() }
}

fn not_serving(message: String) -> Health {
    Health { state: State::NotServing, message: Some(message), ..Health::default() }
}

/// `Err`: there is no connection to be kept.
async fn check(shared: &Shared, tablet: &Tablet, conn: Option<Conn>) -> Result<(Health, Conn), Health> {
    let mut conn = match conn {
        Some(conn) => conn,
        None => match shared.connector.connect(tablet).await {
            Ok(conn) => conn,
            // It is there, and answers.
            Err(e @ Error::OutOfConnections { .. }) => return Err(not_serving(e.to_string())),
            Err(e) => return Err(down(e.to_string())),
        },
    };
    let database = shared.database(&tablet.alias);
    match ask(tablet, &mut conn, database.as_deref()).await {
        Ok(health) => Ok((health, conn)),
        Err(e) => Err(down(e.to_string())),
    }
}

async fn ask(tablet: &Tablet, conn: &mut Conn, database: Option<&str>) -> Result<Health, mysql_async::Error> {
    let read_only: Option<bool> = conn.query_first("SELECT @@global.read_only").await?;
    let mut health = Health { state: State::Serving, read_only, ..Health::default() };
    if let Some(database) = database {
        let sql = "SELECT 1 FROM information_schema.schemata WHERE schema_name = ?";
        let there: Option<u8> = conn.exec_first(sql, (database,)).await?;
        if there.is_none() {
            let why = format!("it has no database {database} that the user {} may see", tablet.user);
            return Ok(Health { read_only, ..not_serving(why) });
        }
    }
    if tablet.kind == TabletKind::Primary {
        if read_only == Some(true) && tablet.alias != "upstream" {
            health.state = State::NotServing;
            health.message = Some("the primary is read-only".to_owned());
        }
        return Ok(health);
    }
    // MySQL 8.4 knows only the first, MariaDB before 10.5 only the second.
    let row: Option<Row> = match conn.query_first("SHOW REPLICA STATUS").await {
        Ok(row) => row,
        Err(mysql_async::Error::Server(_)) => conn.query_first("SHOW SLAVE STATUS").await?,
        Err(e) => return Err(e),
    };
    let field = |names: [&str; 2]| {
        let row = row.as_ref()?;
        names
            .iter()
            .find_map(|name| row.get_opt::<Option<String>, _>(*name).and_then(Result::ok))
            .flatten()
    };
    health.lag_s = field(["Seconds_Behind_Source", "Seconds_Behind_Master"]).and_then(|s| s.parse().ok());
    if health.lag_s.is_none() {
        health.state = State::NotServing;
        let error = |names| field(names).filter(|e: &String| !e.is_empty());
        let why =
            error(["Last_IO_Error", "Last_SQL_Error"]).or_else(|| error(["Last_SQL_Error", "Last_Error"]));
        health.message = Some(why.unwrap_or_else(|| "it does not replicate".to_owned()));
    }
    Ok(health)
}
