//! What a user without the admin right may not do. The servers cannot refuse it: they know only the
//! tablet's account.
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use coregate_planner::control::SqlError;
use coregate_planner::plan::{Effects, Plan, PrepareSource, SessionAction};

impl Session {
    /// One bit of the plan: nothing to a statement that everybody may run.
    #[inline]
    pub(super) fn permit(&self, plan: &Plan) -> Result<(), Failure> {
        self.permit_user(plan)?;
        if !plan.effects.contains(Effects::ADMIN) || self.client.rights.admin {
            return Ok(());
        }
        Err(denied().into())
    }

    /// A statement that the server prepares from a variable is looked at first.
    pub(super) async fn permit_named(&mut self, action: &SessionAction) -> Outcome {
        let SessionAction::Prepare { source: PrepareSource::Variable(variable), .. } = action
        else {
            return Ok(());
        };
        if self.client.rights.admin {
            return Ok(());
        }
        let text = match self.text_of_variable(variable).await {
            Ok(text) => text,
            // Whatever is wrong with the variable, the server says.
            Err(Failure::Sql(_)) => return Ok(()),
            Err(failure) => return Err(failure),
        };
        match self.plan_prepared(&text, super::plan::Kind::PREPARED) {
            Err(Failure::Sql(error)) if error.code == denied().code => Err(error.into()),
            // Whatever else is wrong with it, the server says.
            _ => Ok(()),
        }
    }

    /// The schema of accounts and of the server's own state; MySQL refuses it to users alike.
    pub(super) fn permit_database(&self, name: &str) -> Result<(), SqlError> {
        self.permit_keyspace(name)?;
        let database = name.split(['@', ':']).next().unwrap_or_default();
        if self.client.rights.admin || !database.eq_ignore_ascii_case("mysql") {
            return Ok(());
        }
        let (user, host) = (self.login_user(), &self.client.handle.host);
        Err(sql_error(
            1044,
            format!("Access denied for user '{user}'@'{host}' to database '{database}'"),
        ))
    }
}

#[cold]
fn denied() -> SqlError {
    let text = "Access denied; you need the admin right for this operation: a user of the group \
        \"admin\" \
                in Coregate's users file has it";
    sql_error(1227, text)
}
