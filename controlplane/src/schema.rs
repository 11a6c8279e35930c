//! Reading what tables a keyspace has: from the first shard's primary, or from the next best server
//! that answers.
use crate::Error;
use crate::backend::{self, Connector, PATIENCE};
use crate::probe::{self, Answers, Cache, Wanted};
use crate::sql::Conn;
use crate::tables::tables;
use coregate_planner::snapshot::Tablet;
use coregate_planner::vschema::ServerTable;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a server may take to tell all of its columns.
const COLUMNS_PATIENCE: Duration = Duration::from_secs(60);

/// Whom to ask, and what for.
pub(crate) struct Question {
    pub(crate) keyspace: String,
    pub(crate) database: String,
    /// The first shard's primary, then those of the others: tables are the same on all.
    pub(crate) primaries: Vec<Arc<Tablet>>,
    /// Replicas, where nothing is known yet: better than nothing, and asked for again.
    pub(crate) others: Vec<Arc<Tablet>>,
    /// One that was used before, to the first primary; it may be dead by now.
    pub(crate) conn: Option<Conn>,
    /// What is known of collations.
    pub(crate) cache: Arc<Cache>,
}

pub(crate) struct Reading {
    pub(crate) tables: Vec<ServerTable>,
    /// To the first primary, for the next time.
    pub(crate) conn: Option<Conn>,
    /// A primary has said it.
    pub(crate) certain: bool,
    /// How the tables' text compares; `None` where the server has not told within its time.
    pub(crate) collations: Option<Answers>,
}

/// Asks until one has answered.
pub(crate) async fn read(connector: Connector, question: Question) -> Result<Reading, Error> {
    let Question { keyspace, database, primaries, others, conn, cache } = question;
    let ask = Ask { connector, database, cache };
    if let Some(mut conn) = conn
        && let Ok(Ok(tables)) =
            tokio::time::timeout(COLUMNS_PATIENCE, tables(&mut conn, &ask.database)).await
    {
        return Ok(ask.collations(tables, conn).await);
    }
    let Some((first, rest)) = primaries.split_first() else {
        return Err(Error::Server(format!("keyspace {keyspace} has no primary")));
    };
    let why = match ask.tables(first).await {
        Ok((tables, conn)) => return Ok(ask.collations(tables, conn).await),
        Err(why) => why,
    };
    for (servers, certain) in [(rest, true), (&others, false)] {
        if let Some((tables, conn)) = ask.any(servers).await {
            tracing::warn!(keyspace, "the tables' columns come from another server: {why}");
            return Ok(Reading { conn: None, certain, ..ask.collations(tables, conn).await });
        }
    }
    Err(why)
}

/// What is asked of each server.
#[derive(Clone)]
struct Ask {
    connector: Connector,
    database: String,
    cache: Arc<Cache>,
}

impl Ask {
    async fn tables(&self, tablet: &Tablet) -> Result<(Vec<ServerTable>, Conn), Error> {
        let mut conn = self.connector.connect(tablet).await?;
        match tokio::time::timeout(COLUMNS_PATIENCE, tables(&mut conn, &self.database)).await {
            Ok(tables) => Ok((tables.map_err(|e| backend::failed(tablet, e))?, conn)),
            Err(_) => Err(backend::failed(
                tablet,
                format!("no answer within {} s", COLUMNS_PATIENCE.as_secs()),
            )),
        }
    }

    /// All at once; the first answer counts.
    async fn any(&self, servers: &[Arc<Tablet>]) -> Option<(Vec<ServerTable>, Conn)> {
        let mut asked = JoinSet::new();
        for tablet in servers {
            let (ask, tablet) = (self.clone(), Arc::clone(tablet));
            asked.spawn(async move { ask.tables(&tablet).await });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok(Ok(answer)) = answer {
                return Some(answer);
            }
        }
        None
    }

    /// Of tables that a primary has told, on the same connection.
    async fn collations(&self, tables: Vec<ServerTable>, mut conn: Conn) -> Reading {
        let wanted = Wanted::of(&self.database, &tables, Arc::clone(&self.cache));
        let collations = collations(&mut conn, wanted).await;
        let conn = collations.is_some().then_some(conn);
        Reading { tables, conn, certain: true, collations }
    }
}

/// How a server's text compares; `None`: the connection is of no more use.
pub(crate) async fn collations(conn: &mut Conn, wanted: Wanted) -> Option<Answers> {
    match tokio::time::timeout(PATIENCE, probe::ask(conn, wanted)).await {
        Ok(Ok(answers)) => Some(answers),
        _ => None,
    }
}

/// What a server says that it is: of the first that can be reached, where it is not the first of
/// all.
pub(crate) async fn version(servers: &[Arc<Tablet>]) -> Result<String, Error> {
    let Some((first, rest)) = servers.split_first() else { return Err(Error::Gone) };
    let why = match backend::version(first).await {
        Ok(version) => return Ok(version),
        Err(why) => why,
    };
    let mut asked = JoinSet::new();
    for tablet in rest {
        let tablet = Arc::clone(tablet);
        asked.spawn(async move { backend::version(&tablet).await });
    }
    while let Some(answer) = asked.join_next().await {
        if let Ok(Ok(version)) = answer {
            return Ok(version);
        }
    }
    Err(why)
}
