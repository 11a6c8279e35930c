//! What may be prepared, and room for it on servers that allow few statements.
use crate::error::sql_error;
use crate::pool::{Backend, Spare, give_up_spare};
use crate::session::{Outcome, Session};
use coregate_planner::plan::SessionAction;
use coregate_protocol::codes;
use std::time::Duration;

/// The server's `max_prepared_stmt_count` is reached.
pub(in crate::session) const TOO_MANY_STATEMENTS: u16 = codes::ER_MAX_PREPARED_STMT_COUNT_REACHED;
/// After how long it is asked again then: statements are closed without an answer.
pub(in crate::session) const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
];

/// Statements by name do not nest, and MySQL prepares none about diagnostics.
/// <https://dev.mysql.com/doc/refman/8.4/en/sql-prepared-statements.html>
pub(super) fn preparable(action: &SessionAction, is_mariadb: bool) -> Outcome {
    match action {
        SessionAction::ShowWarnings { .. } if is_mariadb => Ok(()),
        SessionAction::ShowWarnings { .. }
        | SessionAction::Prepare { .. }
        | SessionAction::Execute { .. }
        | SessionAction::ExecuteImmediate { .. }
        | SessionAction::Deallocate { .. } => {
            let what = "This command is not supported in the prepared statement protocol yet";
            Err(sql_error(1295, what).into())
        }
        _ => Ok(()),
    }
}

impl Session {
    /// The server has no more prepared statements to give: those that nobody uses now are closed.
    #[cold]
    pub(in crate::session) async fn make_room(&self, backend: &mut Backend, pause: Duration) {
        backend.forget_statements();
        give_up_spare(&self.core, &backend.pool.tablet, Spare::Statements);
        self.core.sleep(pause).await;
    }
}
