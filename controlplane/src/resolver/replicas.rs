//! Branches that a replica holds prepared and its primary does not, or the other way round.
//!
//! MariaDB logs XA COMMIT before its engine commits: a server that is killed in between has the
//! commit in its history and the branch still prepared, and a branch that no replica had
//! acknowledged stays prepared although the log forgets it. Replication finishes neither. Should
//! such a server become primary, its XA COMMIT would be logged, and stop the replicas, which know
//! no such branch. So these are finished where they are, without a log.
use super::{Asked, recover, within};
use crate::Error;
use crate::backend::{Connector, failed};
use crate::gtid::Position;
use crate::servers::dialect::Dialect;
use crate::sql::Conn;
use coregate_planner::dtid::Branch;
use coregate_planner::snapshot::Tablet;
use std::collections::HashSet;
use std::sync::Arc;

/// A replica that is further behind tells nothing in this round, in seconds.
const BEHIND_MAX_S: f64 = 1.0;

/// What one replica has prepared that has been applied all that its primary had committed.
pub(super) struct Replica {
    pub(super) tablet: Arc<Tablet>,
    pub(super) conn: Conn,
    pub(super) prepared: HashSet<Branch>,
}

/// What a primary and its replicas have prepared, at a moment at which the replicas had applied
/// everything.
pub(super) struct Compared {
    /// On the primary, before and after the replicas were asked.
    pub(super) primary: HashSet<Branch>,
    /// On the primary, before that: replicas get to know how these end.
    pub(super) before: HashSet<Branch>,
    pub(super) replicas: Vec<Replica>,
}

impl Compared {
    /// The replicas with what is prepared on them and not on the primary.
    pub(super) fn take_strays(&mut self) -> Vec<(Arc<Tablet>, Conn, Vec<Branch>)> {
        let replicas = std::mem::take(&mut self.replicas);
        let strays = |replica: Replica| {
            let Replica { tablet, conn, prepared } = replica;
            let alone = prepared.into_iter().filter(|b| !self.before.contains(b));
            (tablet, conn, alone.collect())
        };
        replicas.into_iter().map(strays).collect()
    }

    /// Prepared on the primary alone: to log its end would stop the replicas.
    pub(super) fn is_lone(&self, branch: &Branch) -> bool {
        let mut replicas = self.replicas.iter().peekable();
        replicas.peek().is_some()
            && self.primary.contains(branch)
            && !replicas.any(|r| r.prepared.contains(branch))
    }
}

/// Asks the replicas, then the primary, then the replicas again when they have applied what the
/// primary had: what a replica has at both times and the primary has not, no event of the primary's
/// will finish.
pub(super) async fn compare(
    connector: &Connector,
    primary: &mut Asked,
    tablets: &[Arc<Tablet>],
) -> Result<(Compared, bool), Error> {
    let (mut first, mut all) = (Vec::new(), true);
    for tablet in tablets {
        match recover(connector, tablet).await {
            Ok((conn, branches)) => first.push((Arc::clone(tablet), conn, branches)),
            Err(error) => {
                all = false;
                tracing::debug!(
                    "what is prepared on {} cannot be looked for: {error}",
                    tablet.alias
                );
            }
        }
    }
    let (of_primary, position) = of_primary(primary).await?;
    let mut replicas = Vec::new();
    for (tablet, mut conn, before) in first {
        if !has_applied(&tablet, &mut conn, &position)
            .await
            .unwrap_or(false)
        {
            all = false;
            continue;
        }
        match prepared(&tablet, &mut conn).await {
            Ok(now) => {
                let prepared = before.into_iter().filter(|b| now.contains(b)).collect();
                replicas.push(Replica { tablet, conn, prepared });
            }
            Err(_) => all = false,
        }
    }
    // What has ended meanwhile is no matter any more.
    let now: HashSet<Branch> = prepared(&primary.tablet, &mut primary.conn)
        .await?
        .into_iter()
        .collect();
    let before: HashSet<Branch> = of_primary.into_iter().collect();
    let primary = before.intersection(&now).cloned().collect();
    Ok((Compared { primary, before, replicas }, all))
}

async fn prepared(tablet: &Tablet, conn: &mut Conn) -> Result<Vec<Branch>, Error> {
    within(tablet, super::branches(conn))
        .await?
        .map_err(|error| failed(tablet, error))
}

/// What it has prepared, then what it has committed.
async fn of_primary(primary: &mut Asked) -> Result<(Vec<Branch>, Position), Error> {
    let (tablet, conn) = (Arc::clone(&primary.tablet), &mut primary.conn);
    let branches = prepared(&tablet, conn).await?;
    let position = async {
        let version: Option<String> = conn.query_first("SELECT @@version").await?;
        let dialect = Dialect::of(&version.unwrap_or_default());
        let sql = format!("SELECT @@global.{}", dialect.committed());
        let text: Option<String> = conn.query_first(sql).await?;
        let text = text.unwrap_or_default();
        Ok::<_, crate::sql::Error>(match dialect {
            Dialect::MariaDb => Position::mariadb(&text),
            Dialect::MySql => Position::mysql(&text),
        })
    };
    let position = within(&tablet, position)
        .await?
        .map_err(|error| failed(&tablet, error))?;
    let position = position.ok_or_else(|| failed(&tablet, "its position is not known here"))?;
    Ok((branches, position))
}

async fn has_applied(tablet: &Tablet, conn: &mut Conn, position: &Position) -> Result<bool, Error> {
    let dialect = match position {
        Position::MariaDb(_) => Dialect::MariaDb,
        Position::MySql(_) => Dialect::MySql,
    };
    let sql = dialect.wait_for(&position.to_string(), BEHIND_MAX_S);
    let waited = within(tablet, conn.query_first::<Option<i64>>(sql)).await?;
    Ok(waited.map_err(|error| failed(tablet, error))?.flatten() == Some(0))
}

/// Ends a branch on this server alone.
pub(super) async fn end_unlogged(
    tablet: &Tablet,
    conn: &mut Conn,
    branch: &Branch,
    verb: &str,
) -> Result<(), Error> {
    let work = async {
        conn.query_drop("SET SESSION sql_log_bin=0").await?;
        let ended = conn.query_drop(format!("XA {verb} {branch}")).await;
        conn.query_drop("SET SESSION sql_log_bin=1").await?;
        ended
    };
    within(tablet, work)
        .await?
        .map_err(|error| failed(tablet, format!("XA {verb}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_branch_it_is_decides_where_it_ends() {
        let branch = |number| Branch { id: "a-1".into(), number, decider: 7 };
        let primary = HashSet::from([branch(1)]);
        let mut compared = Compared { before: primary.clone(), primary, replicas: Vec::new() };
        assert!(!compared.is_lone(&branch(1)), "nobody says that replicas do not have it");
        compared.primary.clear();
        assert!(!compared.is_lone(&branch(1)));
    }
}
