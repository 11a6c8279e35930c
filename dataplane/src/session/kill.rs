//! KILL: of a session by its id, or by an expression that a server works out, and MariaDB's KILL
//! USER.
//! <https://mariadb.com/kb/en/kill/>
use super::answer::{Answer, Done};
use super::{Failure, Interrupt, Outcome, Session};
use crate::error::sql_error;
use coregate_planner::plan::KillTarget;

impl Session {
    pub(super) async fn kill_action(
        &mut self,
        query_only: bool,
        whom: KillTarget,
        text: &str,
        answer: &mut Answer,
    ) -> Outcome {
        let how = if query_only { Interrupt::KillQuery } else { Interrupt::KillConnection };
        let mut killed = 0;
        match whom {
            KillTarget::Own => self.kill(self.client.handle.id, how).await?,
            KillTarget::Session(id) => self.kill_by_id(id, how).await?,
            KillTarget::User if self.core.is_mariadb() => {
                killed = self.kill_user(text, how).await?
            }
            // Statements have no numbers here.
            KillTarget::QueryId if self.core.is_mariadb() => {
                let id = self.number(text).await?;
                return Err(sql_error(1957, format!("Unknown query id: {id}")).into());
            }
            KillTarget::Expression | KillTarget::User | KillTarget::QueryId => {
                let id = self.number(text).await?;
                self.kill_by_id(id, how).await?;
            }
        }
        self.send_ok(answer, Done { affected_rows: killed, ..Done::default() });
        Ok(())
    }

    async fn kill_by_id(&mut self, id: u64, how: Interrupt) -> Outcome {
        let id =
            u32::try_from(id).map_err(|_| sql_error(1094, format!("Unknown thread id: {id}")))?;
        self.kill(id, how).await
    }

    /// What a server makes of an expression; NULL is 0.
    async fn number(&mut self, expression: &str) -> Outcome<u64> {
        let query = format!("SELECT CAST(({expression}) AS UNSIGNED)");
        let read = Box::pin(self.read(query.as_bytes())).await?;
        let cell = read
            .rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next());
        let number = cell
            .flatten()
            .and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
        Ok(number.unwrap_or(0))
    }

    /// Stops the sessions of a user; those of this process, as ids are. Returns how many.
    async fn kill_user(&mut self, account: &str, how: Interrupt) -> Outcome<u64> {
        let (user, host) = account_of(account);
        let user = match user.to_ascii_lowercase().trim_end_matches("()") {
            "current_user" => self.client.handle.user.borrow().clone(),
            _ => user,
        };
        if !self.client.rights.admin && *self.client.handle.user.borrow() != user {
            return Err(sql_error(
                1227,
                "Access denied; you need (at least one of) the CONNECTION ADMIN privilege(s) for \
                    this operation",
            )
            .into());
        }
        let mut killed = 0;
        let mut own = false;
        for row in self.sessions().await? {
            if !row.is_of(&user, host.as_deref()) {
                continue;
            }
            if row.id() == self.client.handle.id {
                own = true;
                continue;
            }
            match self.kill(row.id(), how).await {
                Ok(()) => killed += 1,
                // It has gone by itself.
                Err(Failure::Sql(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        if own {
            self.kill(self.client.handle.id, how).await?;
        }
        Ok(killed)
    }
}

/// `user`, `'user'@'host'`. A host that is any is none.
fn account_of(text: &str) -> (String, Option<String>) {
    let plain = |part: &str| {
        part.trim()
            .trim_matches(|c| matches!(c, '\'' | '"' | '`'))
            .to_owned()
    };
    match text.trim().rsplit_once('@') {
        Some((user, host)) if !user.is_empty() => {
            let host = plain(host);
            (plain(user), (host != "%").then_some(host))
        }
        _ => (plain(text), None),
    }
}

#[cfg(test)]
mod tests {
    use super::account_of;

    #[test]
    fn accounts_are_read_in_all_forms() {
        let some = |user: &str, host: &str| (user.to_owned(), Some(host.to_owned()));
        assert_eq!(account_of("app"), ("app".to_owned(), None));
        assert_eq!(account_of(" 'app' "), ("app".to_owned(), None));
        assert_eq!(account_of("'app'@'%'"), ("app".to_owned(), None));
        assert_eq!(account_of("`app`@localhost"), some("app", "localhost"));
        assert_eq!(account_of("'a@b' @ '10.0.0.1'"), some("a@b", "10.0.0.1"));
    }
}
