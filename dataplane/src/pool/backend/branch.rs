//! A connection whose part of a transaction is an XA branch, so that it can be prepared before the
//! transaction is decided.
use super::Backend;
use crate::core::Core;
use crate::error::BackendError;
use std::borrow::Cow;
use std::rc::Rc;

/// An XA branch that is open on a connection.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    /// Its id, as XA statements take it.
    xid: Rc<str>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    Idle,
    Prepared,
}

impl Backend {
    /// Opens a branch together with the next statement, at no round trip, as `begin_ahead` does. If
    /// the server refuses it, the statement behind it is an error too.
    pub(crate) fn branch_ahead(&mut self, xid: Rc<str>) {
        self.ahead.push(Cow::Owned(format!("XA START {xid}")));
        self.branch = Some(Box::new(Branch { xid, state: State::Active }));
        self.in_transaction = true;
    }

    /// The same, once the server has agreed.
    pub(crate) async fn open_branch(
        &mut self,
        core: &Core,
        xid: Rc<str>,
    ) -> Result<(), BackendError> {
        self.execute(core, format!("XA START {xid}")).await?;
        self.branch = Some(Box::new(Branch { xid, state: State::Active }));
        self.in_transaction = true;
        Ok(())
    }

    pub(crate) fn is_branch(&self) -> bool {
        self.branch.is_some()
    }

    /// Prepares the branch: from then on it outlives the connection.
    pub(crate) async fn prepare_branch(&mut self, core: &Core) -> Result<(), BackendError> {
        self.end_branch(core).await?;
        self.xa(core, "XA PREPARE", "", Some(State::Prepared)).await
    }

    /// Commits a prepared branch; with `one_phase`, one that is not.
    pub(crate) async fn commit_branch(
        &mut self,
        core: &Core,
        one_phase: bool,
    ) -> Result<(), BackendError> {
        if one_phase {
            self.end_branch(core).await?;
        }
        let tail = if one_phase { " ONE PHASE" } else { "" };
        self.xa(core, "XA COMMIT", tail, None).await
    }

    /// Rolls the branch back, in whatever state it is.
    pub(crate) async fn roll_back_branch(&mut self, core: &Core) -> Result<(), BackendError> {
        // One that a deadlock has ended refuses to be ended, and can be rolled back all the same.
        let _ = self.end_branch(core).await;
        self.xa(core, "XA ROLLBACK", "", None).await
    }

    async fn end_branch(&mut self, core: &Core) -> Result<(), BackendError> {
        match &self.branch {
            Some(branch) if branch.state == State::Active => {
                self.xa(core, "XA END", "", Some(State::Idle)).await
            }
            _ => Ok(()),
        }
    }

    /// One XA statement. `next`: the state behind it; `None`: there is no branch any more.
    async fn xa(
        &mut self,
        core: &Core,
        verb: &str,
        tail: &str,
        next: Option<State>,
    ) -> Result<(), BackendError> {
        let Some(branch) = &self.branch else { return Ok(()) };
        self.execute(core, format!("{verb} {}{tail}", branch.xid))
            .await?;
        match next {
            Some(state) => {
                // Between END and its end, servers say that no transaction is open.
                self.in_transaction = true;
                if let Some(branch) = &mut self.branch {
                    branch.state = state;
                }
            }
            None => {
                self.branch = None;
                (self.in_transaction, self.unsure, self.ended_by_error) = (false, false, false);
            }
        }
        Ok(())
    }
}
