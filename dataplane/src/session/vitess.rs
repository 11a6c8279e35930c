//! System variables of Vitess's, which the session keeps itself.
use super::atomic::TransactionMode;
use super::set::is_on;
use super::snapshot_reads::CROSS_SHARD_SNAPSHOT;
use super::{Outcome, Session};
use crate::error::sql_error;
use coregate_planner::plan::{Assignment, SetValue};
use coregate_planner::vitess_variables::{VitessKind, VitessVariable};

/// A day: as long as a limit of this side may be, in milliseconds.
const TIMEOUT_MAX_MS: u64 = 86_400_000;

impl Session {
    pub(super) fn set_vitess(&mut self, assignment: &Assignment) -> Outcome {
        let name = assignment.name.as_str();
        let value = match &assignment.value {
            SetValue::Literal(value) | SetValue::Text(value) | SetValue::Expression(value) => {
                value.clone()
            }
            SetValue::Default => String::new(),
        };
        let is_default = assignment.value == SetValue::Default;
        let handle = &self.client.handle;
        match name {
            "transaction_mode" if !is_default && TransactionMode::parse(&value).is_none() => {
                let message =
                    format!("invalid transaction_mode: {value}; it is SINGLE, MULTI or TWOPC");
                return Err(sql_error(1231, message).into());
            }
            "query_timeout" => handle.query_timeout.set(timeout(name, &value, is_default)?),
            "transaction_timeout" => {
                handle
                    .transaction_timeout
                    .set(timeout(name, &value, is_default)?);
            }
            _ => {}
        }
        if name == CROSS_SHARD_SNAPSHOT {
            self.set_snapshot_reads(&value)?;
        }
        if name.starts_with("read_after_write_") {
            self.set_read_after_write(name, &value)?;
        }
        let known = &mut self.state.vitess;
        known.retain(|(known, _)| known != name);
        if !is_default {
            known.push((assignment.name.clone(), value));
        }
        Ok(())
    }

    /// What the session has set a variable of Vitess's to.
    pub(super) fn vitess_value(&self, name: &str) -> Option<&str> {
        let found = self.state.vitess.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What `SELECT @@name` gives: digits for numbers and switches, else a text.
    pub(super) fn vitess_text(&self, variable: &VitessVariable) -> String {
        let (handle, core) = (&self.client.handle, &self.core);
        let set = self.vitess_value(variable.name).map(unquoted);
        match variable.name {
            "transaction_mode" => self.transaction_mode().name().into(),
            CROSS_SHARD_SNAPSHOT => u8::from(self.state.cross_shard_snapshot).to_string(),
            "query_timeout" => handle.query_timeout_ms(core).to_string(),
            "transaction_timeout" => handle.transaction_timeout_ms(core).to_string(),
            "read_after_write_timeout" => {
                // Checked when it was set; the configuration's is in milliseconds.
                let default = core.config().read_after_write_ms as f64 / 1e3;
                let set = set.and_then(|set| set.parse::<f64>().ok());
                set.unwrap_or(default).to_string()
            }
            _ => {
                let value = set.unwrap_or(variable.default);
                match variable.kind {
                    VitessKind::Name => value.to_ascii_uppercase(),
                    VitessKind::Switch => u8::from(is_on(value)).to_string(),
                    _ => value.into(),
                }
            }
        }
    }
}

/// In milliseconds. `None`: the configuration's.
fn timeout(name: &str, value: &str, is_default: bool) -> Outcome<Option<u64>> {
    if is_default {
        return Ok(None);
    }
    match unquoted(value).parse::<u64>() {
        Ok(ms) if ms <= TIMEOUT_MAX_MS => Ok(Some(ms)),
        _ => {
            let message = format!(
                "Variable '{name}' can't be set to the value of '{value}': it is a number of \
                 milliseconds up to {TIMEOUT_MAX_MS}, 0 for no limit"
            );
            Err(sql_error(1231, message).into())
        }
    }
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['\'', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_has_a_form() {
        assert!(is_on("TRUE") && is_on("1") && !is_on("0"));
        assert_eq!(unquoted(" 'olap' "), "olap");
        assert!(timeout("query_timeout", "-1", false).is_err());
        assert_eq!(timeout("query_timeout", "250", false).ok(), Some(Some(250)));
    }
}
