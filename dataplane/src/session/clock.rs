//! One time for all servers that do the same: each copy of a reference table gets the values that
//! one server would compute.
use super::Session;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

impl Session {
    /// Writes the time between these, where the servers' form is asked for and the client has not
    /// said a time itself. All texts of a turn of the core's loop get the same.
    pub(super) fn write_clock(
        &self,
        before: &[u8],
        after: &[u8],
        mariadb: bool,
        out: &mut Vec<u8>,
    ) {
        if self.core.is_mariadb() != mariadb || self.state.settings.get("timestamp").is_some() {
            return;
        }
        let time = self.wall_clock();
        out.extend_from_slice(before);
        out.extend_from_slice(format!("{}.{:06}", time.as_secs(), time.subsec_micros()).as_bytes());
        out.extend_from_slice(after);
    }

    /// A step's text, the same for all servers, with one time for them.
    pub(super) fn with_clock(&self, sql: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(sql.len() + 64);
        self.write_clock(b"SET STATEMENT timestamp=", b" FOR ", true, &mut out);
        let verb = sql.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        out.extend_from_slice(sql.get(..verb).unwrap_or_default());
        self.write_clock(b" /*+ SET_VAR(timestamp=", b") */ ", false, &mut out);
        out.extend_from_slice(sql.get(verb..).unwrap_or_default());
        out
    }

    fn wall_clock(&self) -> Duration {
        let now = self.core.ring.now();
        match self.core.wall.get() {
            Some((at, time)) if at == now => time,
            _ => {
                let time = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                self.core.wall.set(Some((now, time)));
                time
            }
        }
    }
}
