//! What the OKs that the session gives itself report of its state, to clients that track it: the
//! forms and the conditions are the servers' own. What a server has reported of a SET is passed on.
use super::Session;
use coregate_planner::plan::{AccessMode, SessionAction};
use coregate_protocol::Capabilities;
use coregate_protocol::charset::Charset;
use coregate_protocol::codec::put_lenenc_bytes;

/// Kinds of changes (`enum_session_state_type`).
const SYSTEM_VARIABLE: u8 = 0;
const SCHEMA: u8 = 1;
const CHARACTERISTICS: u8 = 4;
const TRANSACTION_STATE: u8 = 5;

fn change(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let mut data = Vec::new();
    for part in parts {
        put_lenenc_bytes(&mut data, part);
    }
    out.push(kind);
    put_lenenc_bytes(out, &data);
}

impl Session {
    pub(super) fn tracks(&self) -> bool {
        self.client
            .capabilities
            .contains(Capabilities::SESSION_TRACK)
    }

    /// Does the session itself decide on what is reported of variables? Then only a server can
    /// tell.
    pub(super) fn tracks_by_choice(&self) -> bool {
        let chosen = |name: &&str| self.state.settings.get(name).is_some();
        self.tracks()
            && ["session_track_system_variables", "session_track_state_change"]
                .iter()
                .any(chosen)
    }

    /// A setting's value, without quotes, in upper case.
    fn chosen(&self, name: &str) -> Option<String> {
        let sql = String::from_utf8_lossy(self.state.settings.get(name)?).into_owned();
        let value = sql.rsplit('=').next().unwrap_or_default();
        Some(value.trim().trim_matches('\'').to_ascii_uppercase())
    }

    /// After USE, COM_INIT_DB and the login.
    pub(super) fn schema_report(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let off = self
            .chosen("session_track_schema")
            .is_some_and(|v| matches!(v.as_str(), "0" | "OFF" | "FALSE"));
        if let Some(name) = self
            .target
            .database
            .as_deref()
            .filter(|_| self.tracks() && !off)
        {
            change(&mut out, SCHEMA, &[name.as_bytes()]);
        }
        out
    }

    /// After a SET that no server was asked about; the variables are among those that are reported
    /// by default.
    pub(super) fn set_report(&self, name: &str, value: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.tracks() {
            return out;
        }
        match name {
            "autocommit" => {
                let value: &[u8] = if self.state.autocommit { b"ON" } else { b"OFF" };
                change(&mut out, SYSTEM_VARIABLE, &[b"autocommit", value]);
            }
            "names" => {
                let charset = Charset::by_name(value).map_or(value, |c| c.name());
                for variable in
                    ["character_set_client", "character_set_connection", "character_set_results"]
                {
                    change(&mut out, SYSTEM_VARIABLE, &[variable.as_bytes(), charset.as_bytes()]);
                }
            }
            _ => {}
        }
        out
    }

    /// After BEGIN, COMMIT and ROLLBACK, if the session wants it.
    pub(super) fn transaction_report(&self, action: &SessionAction) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(wanted) = self
            .chosen("session_track_transaction_info")
            .filter(|_| self.tracks())
        else {
            return out;
        };
        let characteristics = matches!(wanted.as_str(), "2" | "CHARACTERISTICS");
        if !characteristics && !matches!(wanted.as_str(), "1" | "STATE") {
            return out;
        }
        let begun = match action {
            SessionAction::Begin { access, consistent_snapshot } => {
                let snapshot = if *consistent_snapshot { " WITH CONSISTENT SNAPSHOT" } else { "" };
                let access = match (access, *consistent_snapshot) {
                    (None, _) => "",
                    (Some(AccessMode::ReadOnly), false) => " READ ONLY",
                    (Some(AccessMode::ReadOnly), true) => ", READ ONLY",
                    (Some(AccessMode::ReadWrite), false) => " READ WRITE",
                    (Some(AccessMode::ReadWrite), true) => ", READ WRITE",
                };
                Some(format!("START TRANSACTION{snapshot}{access};"))
            }
            SessionAction::Commit { chain: Some(true), .. }
            | SessionAction::Rollback { chain: Some(true), .. } => {
                Some("START TRANSACTION;".to_owned())
            }
            SessionAction::Commit { .. } | SessionAction::Rollback { .. } => None,
            _ => return out,
        };
        let state: &[u8] = if begun.is_some() { b"T_______" } else { b"________" };
        change(&mut out, TRANSACTION_STATE, &[state]);
        if characteristics {
            change(&mut out, CHARACTERISTICS, &[begun.unwrap_or_default().as_bytes()]);
        }
        out
    }
}
