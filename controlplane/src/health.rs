//! Is each server there, may it be written to, how far behind is it?
mod beat;
mod check;
mod verdict;

pub(crate) use beat::{Beat, Beats, Heart, now_ms};
pub(crate) use check::{Checks, Limits};
pub(crate) use verdict::{Sign, Watch};

use crate::servers::status::Facts;
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Not looked at yet.
    Unknown,
    Serving,
    /// It answers, but not as it should: a primary that is read-only, a replica that does not
    /// replicate.
    NotServing,
    Unreachable,
}

/// Why a server is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Nobody listens there: the process has died.
    Dead,
    /// It takes connections, or its machine does, and answers nothing: stopped, stuck, or cut off.
    Frozen,
    /// It answers that it has no connection to give.
    OutOfConnections,
    /// It does not let us in, or its name has no address.
    Refused,
    /// Its machine is not reached: the network between is cut, or the machine is off.
    CutOff,
}

#[derive(Debug, Clone, Serialize)]
pub struct Health {
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    pub read_only: Option<bool>,
    /// Replicas: seconds behind the primary, rounded up.
    pub lag_s: Option<u64>,
    /// The same, in milliseconds: by when the primary had what the replica has applied, as exact as
    /// the time between two checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
    /// Why it does not serve.
    pub message: Option<String>,
    /// What it has applied, by GTIDs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// A primary: for how long commits have waited for an acknowledgement while none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unacknowledged_ms: Option<u64>,
    /// A replica: since when it has received nothing.
    #[serde(skip)]
    pub(crate) received_ms: Option<u64>,
    /// A primary: for how long the heartbeat has not been written, though it can be asked and
    /// nobody is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes_stall_ms: Option<u64>,
    /// A replica: how old the last heartbeat is that it has applied, by the clocks of who has
    /// written it and of this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_lag_ms: Option<u64>,
    /// What it said when it was last reached.
    #[serde(flatten)]
    pub(crate) facts: Option<Facts>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: State::Unknown,
            trouble: None,
            read_only: None,
            lag_s: None,
            lag_ms: None,
            message: None,
            position: None,
            unacknowledged_ms: None,
            received_ms: None,
            writes_stall_ms: None,
            heartbeat_lag_ms: None,
            facts: None,
        }
    }
}

impl Health {
    /// As long as nothing is known against it.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.state, State::Serving | State::Unknown)
    }
}
