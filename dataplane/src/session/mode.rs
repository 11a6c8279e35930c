//! The SQL mode. The lexer, the status flags and the servers must agree on it, or a text ends
//! elsewhere than in the server. So a session has a mode from its first statement on, the servers'
//! default, and every connection that it uses is given just that one.
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::pool::{Backend, Place};
use crate::settings::Settings;
use coregate_planner::charset::{Charset, Charsets};
use coregate_planner::fingerprint::SqlMode;
use coregate_planner::plan::{Assignment, Effects, Scope, SetValue};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A default that somebody has changed on the server itself is seen by new sessions after so long,
/// at the latest.
const DEFAULT_AGE_MAX: Duration = Duration::from_secs(2);
/// Servers that are asked for their default before it counts as unknown.
const ASKED_MAX: usize = 3;

/// The servers' default, as this core has read it last.
#[derive(Default)]
pub(crate) struct DefaultMode {
    known: RefCell<Option<Known>>,
}

struct Known {
    mode: Rc<str>,
    read: Instant,
    globals: u32,
}

impl DefaultMode {
    fn get(&self) -> Option<Rc<str>> {
        self.known.borrow().as_ref().map(|k| Rc::clone(&k.mode))
    }

    fn is_fresh(&self, now: Instant, globals: u32) -> bool {
        let known = self.known.borrow();
        known.as_ref().is_some_and(|k| {
            k.globals == globals && now.saturating_duration_since(k.read) < DEFAULT_AGE_MAX
        })
    }
}

/// Modes that stand for themselves alone, so that what is set is what a server then has.
const SINGLE: &[&str] = &[
    "",
    "ALLOW_INVALID_DATES",
    "ANSI_QUOTES",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "HIGH_NOT_PRECEDENCE",
    "IGNORE_SPACE",
    "NO_AUTO_VALUE_ON_ZERO",
    "NO_BACKSLASH_ESCAPES",
    "NO_ENGINE_SUBSTITUTION",
    "NO_UNSIGNED_SUBTRACTION",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "ONLY_FULL_GROUP_BY",
    "PAD_CHAR_TO_FULL_LENGTH",
    "PIPES_AS_CONCAT",
    "REAL_AS_FLOAT",
    "STRICT_ALL_TABLES",
    "STRICT_TRANS_TABLES",
];

/// Must a server be asked what an assignment of `sql_mode` has set? A number, an expression,
/// DEFAULT and names for several tell only there.
pub(super) fn is_computed(assignment: &Assignment) -> bool {
    if assignment.name != "sql_mode" || assignment.scope != Scope::Session {
        return false;
    }
    let (SetValue::Text(value) | SetValue::Literal(value)) = &assignment.value else { return true };
    !value
        .split(',')
        .all(|word| SINGLE.iter().any(|mode| mode.eq_ignore_ascii_case(word)))
}

pub(super) fn is_oracle(mode: &[u8]) -> bool {
    mode.split(|b| !b.is_ascii_alphanumeric() && *b != b'_')
        .any(|word| word.eq_ignore_ascii_case(b"ORACLE"))
}

pub(super) fn no_oracle() -> Failure {
    Failure::Sql(sql_error(
        1235,
        "VT12001: unsupported: sql_mode ORACLE, in which BEGIN and other words mean something \
            else; set another sql_mode",
    ))
}

/// The lexer's flags out of a value of sql_mode.
pub(super) fn sql_mode_of(value: &str) -> SqlMode {
    let mut mode = SqlMode::empty();
    for word in value.split(',').map(|w| w.trim().to_ascii_uppercase()) {
        mode |= match word.as_str() {
            "ANSI_QUOTES" => SqlMode::ANSI_QUOTES,
            "NO_BACKSLASH_ESCAPES" => SqlMode::NO_BACKSLASH_ESCAPES,
            "PIPES_AS_CONCAT" => SqlMode::PIPES_AS_CONCAT,
            "IGNORE_SPACE" => SqlMode::IGNORE_SPACE,
            "HIGH_NOT_PRECEDENCE" => SqlMode::HIGH_NOT_PRECEDENCE,
            _ => SqlMode::empty(),
        };
    }
    mode
}

/// Is a text read alike under every mode?
fn is_mode_free(sql: &[u8]) -> bool {
    !sql.iter().any(|b| matches!(b, b'\'' | b'"' | b'\\' | b'|'))
}

impl Session {
    /// The session that begins gets the servers' default.
    pub(super) async fn learn_mode(&mut self) -> Outcome {
        let core = self.core.clone();
        let globals = core.shared.globals.load(Ordering::Relaxed);
        let known = core.default_mode.get();
        if let Some(mode) = &known {
            self.take_mode(mode)?;
            if core.default_mode.is_fresh(core.ring.now(), globals) {
                return Ok(());
            }
        }
        let mode = match self.fetch_default().await {
            Ok(Some(mode)) => mode,
            // Its connections are given the last one that was known.
            Ok(None) | Err(_) if known.is_some() => return Ok(()),
            Ok(None) => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let read = core.ring.now();
        *core.default_mode.known.borrow_mut() =
            Some(Known { mode: Rc::clone(&mode), read, globals });
        self.take_mode(&mode)
    }

    /// A session can begin while no server answers: it then learns the mode before its first
    /// statement that depends on it.
    pub(super) async fn begin_mode(&mut self) {
        self.state.mode_known = false;
        if self.learn_mode().await.is_err() {
            tracing::debug!(
                session = self.client.handle.id,
                "the servers' default sql_mode is not known yet"
            );
        }
    }

    /// Before a statement of a session whose servers could not be asked when it began.
    #[cold]
    pub(super) async fn must_know_mode(&mut self, sql: &[u8]) -> Outcome {
        match self.learn_mode().await {
            Err(failure) if !is_mode_free(sql) => Err(failure),
            _ => Ok(()),
        }
    }

    fn take_mode(&mut self, mode: &str) -> Outcome {
        if is_oracle(mode.as_bytes()) {
            return Err(no_oracle());
        }
        let mut settings = (*self.state.settings).clone();
        settings.set("sql_mode", format!("@@session.sql_mode = '{mode}'"));
        self.state.settings = self.core.settings.intern(settings);
        self.state.sql_mode = sql_mode_of(mode);
        self.state.mode_known = true;
        Ok(())
    }

    /// `None`: there is no server yet.
    async fn fetch_default(&mut self) -> Outcome<Option<Rc<str>>> {
        let mut places: Vec<Place> = self.any_place().into_iter().collect();
        let others = self
            .places_of_target()
            .into_iter()
            .chain(self.first_places());
        for place in others {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let mut last = None;
        for place in places.into_iter().take(ASKED_MAX) {
            let core = self.core.clone();
            let mut backend = match self.acquire(place, Effects::NO_TABLES).await {
                Ok(backend) => backend,
                Err(failure) => {
                    last = Some(failure);
                    continue;
                }
            };
            match backend.value(&core, "SELECT @@global.sql_mode").await {
                Ok(mode) => {
                    self.keep_or_return(place, backend);
                    return Ok(Some(Rc::from(mode.unwrap_or_default())));
                }
                Err(e) => last = Some(self.lose(backend, e.into())),
            }
        }
        last.map_or(Ok(None), Err)
    }

    /// One server of every keyspace.
    fn first_places(&self) -> Vec<Place> {
        let kind = self.target.kind.into();
        let snapshot = self.core.snapshot.borrow();
        let shards = snapshot.keyspaces.iter().filter_map(|k| k.shards.first());
        shards
            .map(|shard| Place::Shard { shard: shard.id, kind })
            .collect()
    }

    /// After a statement that may have run a SET of its own on a connection that the session keeps:
    /// what the session must know is read from there, the client has its answer already.
    #[cold]
    pub(super) async fn read_state(&mut self) {
        let Some(place) = self.transaction.state_at.take() else { return };
        let Some(mut backend) = self.transaction.take_at(place) else { return };
        let names = [
            "sql_mode",
            "character_set_client",
            "collation_connection",
            "autocommit",
            "last_insert_id",
        ]
        .map(|name| format!("@@session.{name}"));
        if let Ok(values) = self.read_variables(&mut backend, &names).await
            && let [mode, client, connection, autocommit, id] = values.as_slice()
        {
            let text =
                |v: &super::variables::Variable| String::from_utf8_lossy(v.bytes()).into_owned();
            // It had the session's value before.
            if let Ok(id) = text(id).parse() {
                self.last.insert_id = id;
                backend.last_insert_id = Some(id);
            }
            if is_oracle(mode.bytes()) {
                // Undone: see `no_oracle`.
                let known = self.state.settings.get("sql_mode").map(<[u8]>::to_vec);
                if let Some(known) = known {
                    let core = self.core.clone();
                    let _ = backend
                        .execute(&core, [b"SET ".as_slice(), &known].concat())
                        .await;
                }
            } else {
                let read = [mode, client, connection, autocommit].map(text);
                self.follow_state(place, &mut backend, &read);
            }
        } else {
            // What cannot be known is not used.
            backend.tainted = true;
        }
        self.keep_or_return(place, backend);
    }

    fn follow_state(&mut self, place: Place, backend: &mut Backend, read: &[String; 4]) {
        let [mode, client, connection, autocommit] = read;
        let mut settings: Settings = (*self.state.settings).clone();
        settings.set("sql_mode", format!("@@session.sql_mode = '{mode}'"));
        self.state.sql_mode = sql_mode_of(mode);
        let now = Charsets {
            client: Charset::by_name(client),
            connection: Charset::of_collation(connection),
        };
        if now != self.state.charsets {
            settings.set(
                "character_set_client",
                format!("@@session.character_set_client = '{client}'"),
            );
            settings.set(
                "collation_connection",
                format!("@@session.collation_connection = '{connection}'"),
            );
        }
        self.state.autocommit = autocommit != "0";
        if self.state.autocommit {
            settings.unset("autocommit");
        } else {
            settings.set("autocommit", "@@session.autocommit = 0");
        }
        let in_step = Rc::ptr_eq(&backend.settings, &self.settings_at(place));
        self.state.settings = self.core.settings.intern(settings);
        self.state.charsets = self.state.settings.charsets();
        if in_step {
            backend.settings = self.settings_at(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(value: SetValue) -> Assignment {
        Assignment { scope: Scope::Session, name: "sql_mode".into(), value, sql: Vec::new() }
    }

    #[test]
    fn sql_modes_that_change_the_lexer_are_seen() {
        assert_eq!(sql_mode_of("strict_trans_tables,ansi_quotes"), SqlMode::ANSI_QUOTES);
        assert_eq!(sql_mode_of(""), SqlMode::empty());
    }

    #[test]
    fn only_names_of_single_modes_need_no_server() {
        for plain in ["", "ansi_quotes", "STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES"] {
            assert!(!is_computed(&assigned(SetValue::Text(plain.into()))), "{plain}");
        }
        for computed in ["ANSI", "4", "TRADITIONAL", "nosuch", "ANSI_QUOTES, IGNORE_SPACE"] {
            assert!(is_computed(&assigned(SetValue::Literal(computed.into()))), "{computed}");
        }
        assert!(is_computed(&assigned(SetValue::Default)));
        assert!(is_computed(&assigned(SetValue::Expression("@@sql_mode|2".into()))));
    }

    #[test]
    fn oracle_is_a_word() {
        assert!(is_oracle(b"PIPES_AS_CONCAT,ORACLE") && is_oracle(b"'oracle'"));
        assert!(!is_oracle(b"NO_ORACLE"));
    }
}
