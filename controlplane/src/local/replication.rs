//! Replicas of a local cluster, by GTID.
use crate::{Error, backend};
use coregate_planner::snapshot::Tablet;
use mysql_async::prelude::Queryable;

/// The account that replicas log in with.
pub(super) const USER: &str = "repl";

/// Makes a server follow the primary on `port`. Ports change from start to start, so this is done at each.
pub(super) async fn attach(replica: &Tablet, port: u16, password: &str) -> Result<(), Error> {
    let mut conn = backend::connect(replica).await?;
    let change = format!(
        "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='{USER}', \
         MASTER_PASSWORD='{password}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1"
    );
    for statement in ["STOP SLAVE", &change, "START SLAVE"] {
        conn.query_drop(statement)
            .await
            .map_err(|e| backend::failed(replica, e))?;
    }
    Ok(())
}
