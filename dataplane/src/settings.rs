//! Session settings: what a client has SET, kept by the session and applied to a pooled connection
//! only when that one differs.
//!
//! Settings are interned per core, so that a session holds one pointer and "does this connection
//! have my settings?" is a comparison of pointers.
use ahash::AHashSet;
use coregate_planner::charset::{Charset, Charsets};
use coregate_protocol::charset::Collation;
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// Prefix of the names of what `SET SESSION TRANSACTION` has set.
pub(crate) const TRANSACTION: &str = "transaction ";

/// An immutable set of settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Settings {
    /// Collation id of the handshake; `SET NAMES` stands in `vars`.
    pub(crate) collation: u16,
    /// Drop-in mode: the selected database. In keyspaces the connection's own database is always
    /// the right one.
    pub(crate) database: Option<String>,
    /// How many SET GLOBALs came before the session began: it has the defaults of then.
    pub(crate) globals: u32,
    /// Name -> the assignment as SQL, sorted by name. User variables have names with a leading `@`.
    /// The SQL is bytes, and means the same in every SQL mode and character set.
    pub(crate) vars: Vec<(String, Vec<u8>)>,
}

/// The settings by which a text is read.
const OF_THE_TEXT: &[&str] = &[
    "names",
    "character set",
    "character_set_client",
    "character_set_connection",
    "collation_connection",
    "sql_mode",
];

/// See [`Settings::of_the_text`].
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct TextSettings<'a> {
    collation: u16,
    database: Option<&'a str>,
    vars: smallvec::SmallVec<[&'a (String, Vec<u8>); 4]>,
}

impl Settings {
    /// Those of a connection on which anything may have been set up: each session resets it before
    /// it uses it.
    pub(crate) fn unknown() -> Self {
        Self { vars: vec![("?".into(), Vec::new())], ..Self::default() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.vars
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, sql)| sql.as_slice())
    }

    pub(crate) fn set(&mut self, name: &str, sql: impl Into<Vec<u8>>) {
        let sql = sql.into();
        match self.vars.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) => self.vars[at].1 = sql,
            Err(at) => self.vars.insert(at, (name.to_owned(), sql)),
        }
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.vars.retain(|(n, _)| n != name);
    }

    /// Those that decide on how a statement's text is read: its literals, its quotes, its
    /// unqualified names.
    pub(crate) fn of_the_text(&self) -> TextSettings<'_> {
        let vars = self
            .vars
            .iter()
            .filter(|(name, _)| OF_THE_TEXT.contains(&name.as_str()));
        TextSettings {
            collation: self.collation,
            database: self.database.as_deref(),
            vars: vars.collect(),
        }
    }

    /// The same, with those of the text taken from `other`.
    pub(crate) fn with_text_of(&self, other: &Self) -> Self {
        let of_the_text = |(name, _): &&(String, Vec<u8>)| OF_THE_TEXT.contains(&name.as_str());
        let kept = self.vars.iter().filter(|var| !of_the_text(var));
        let mut vars: Vec<_> = kept
            .chain(other.vars.iter().filter(of_the_text))
            .cloned()
            .collect();
        vars.sort();
        Self {
            collation: other.collation,
            database: other.database.clone(),
            globals: self.globals,
            vars,
        }
    }

    /// Are texts and their literals in the same character sets and collation?
    pub(crate) fn has_charsets_of(&self, other: &Self) -> bool {
        self.charset_names() == other.charset_names()
    }

    /// The name of the character set in which the client writes.
    pub(crate) fn client_charset(&self) -> String {
        self.charset_names().0
    }

    /// In which character sets the client's text is.
    pub(crate) fn charsets(&self) -> Charsets {
        let (client, connection) = self.charset_names();
        Charsets {
            client: Charset::by_name(&client),
            connection: Charset::of_collation(&connection),
        }
    }

    fn charset_names(&self) -> (String, String) {
        let handshake = Collation::by_id(self.collation).map_or("utf8mb4", |c| c.charset().name());
        let word = |name: &str| self.get(name).map(last_word);
        // `NAMES x COLLATE y`, `CHARACTER SET x`: the database's set is the connection's then,
        // which is not known here.
        let names = self
            .get("names")
            .and_then(|sql| {
                sql.split(u8::is_ascii_whitespace)
                    .filter(|w| !w.is_empty())
                    .nth(1)
            })
            .map(last_word);
        let by_set = word("character set");
        let base = names.as_deref().unwrap_or(handshake);
        let client = word("character_set_client").or_else(|| by_set.clone());
        let connection = word("collation_connection")
            .or_else(|| word("character_set_connection"))
            .or_else(|| by_set.as_ref().map(|_| "utf8mb4".to_owned()));
        let or_base = |name: Option<String>| name.unwrap_or_else(|| base.to_owned());
        (or_base(client), or_base(connection))
    }

    /// What must be sent to a connection that has `self` to give it `wanted`.
    pub(crate) fn difference(&self, wanted: &Self) -> Difference {
        let removed = self.vars.iter().any(|(name, _)| wanted.get(name).is_none());
        let older = self.globals < wanted.globals;
        let reset =
            removed || older || self.collation != wanted.collation && wanted.get("names").is_none();
        let missing = wanted
            .vars
            .iter()
            .filter(|(name, sql)| reset || self.get(name) != Some(sql));
        let mut set: Vec<Vec<u8>> = Vec::new();
        let mut list = Vec::new();
        // NAMES first: it decides in which character set the values that follow are read.
        let (names, others): (Vec<_>, Vec<_>) = missing.partition(|(name, _)| name == "names");
        for (name, sql) in names.into_iter().chain(others) {
            if name.starts_with(TRANSACTION) {
                // SET TRANSACTION is a statement of its own.
                set.push([b"SET ", sql.as_slice()].concat());
                continue;
            }
            list.extend_from_slice(if list.is_empty() { b"SET " } else { b", " });
            list.extend_from_slice(sql);
        }
        if !list.is_empty() {
            set.insert(0, list);
        }
        let database = wanted
            .database
            .as_ref()
            .filter(|db| self.database.as_ref() != Some(*db))
            .cloned();
        Difference { reset, set, database }
    }

    /// The same for a connection that a session holds: a reset would roll its transaction back and
    /// drop its temporary tables, so each setting that is not wanted any more is undone by itself.
    /// `names` are those of the wanted collation.
    pub(crate) fn difference_in_place(&self, wanted: &Self, names: Option<&str>) -> Difference {
        let mut kept = self.clone();
        let mut undo = Vec::new();
        for (name, _) in self
            .vars
            .iter()
            .filter(|(name, _)| wanted.get(name).is_none())
        {
            kept.unset(name);
            let sql = match (name.strip_prefix('@'), name.as_str()) {
                (Some(variable), _) => format!("SET @`{}` = NULL", variable.replace('`', "``")),
                (None, "names" | "character set") => {
                    format!("SET {}", names.unwrap_or("NAMES DEFAULT"))
                }
                (None, _) => format!("SET SESSION {name} = DEFAULT"),
            };
            undo.push(sql.into_bytes());
        }
        (kept.collation, kept.globals) = (wanted.collation, wanted.globals);
        let Difference { set, database, .. } = kept.difference(wanted);
        undo.extend(set);
        Difference { reset: false, set: undo, database }
    }
}

/// The value of an assignment: `@@session.x = 'latin1'`, without quotes.
fn last_word(sql: &[u8]) -> String {
    let sql = String::from_utf8_lossy(sql);
    let word = sql.rsplit([' ', '=']).next().unwrap_or_default();
    word.trim_matches(['\'', '"', '`']).to_ascii_lowercase()
}

/// Commands that turn one connection's settings into another's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// COM_RESET_CONNECTION first: there is something that the other session does not have.
    pub(crate) reset: bool,
    /// SET statements, in this order.
    pub(crate) set: Vec<Vec<u8>>,
    pub(crate) database: Option<String>,
}

/// The settings known to a core.
#[derive(Default)]
pub(crate) struct SettingsTable {
    known: RefCell<AHashSet<Key>>,
}

struct Key(Rc<Settings>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Key {}
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl std::borrow::Borrow<Settings> for Key {
    fn borrow(&self) -> &Settings {
        &self.0
    }
}

/// Settings that nobody uses are forgotten when so many are known.
const SWEEP_AT: usize = 1024;

impl SettingsTable {
    /// The one copy of these settings.
    pub(crate) fn intern(&self, settings: Settings) -> Rc<Settings> {
        let mut known = self.known.borrow_mut();
        if let Some(key) = known.get(&settings) {
            return Rc::clone(&key.0);
        }
        if known.len() >= SWEEP_AT {
            known.retain(|key| Rc::strong_count(&key.0) > 1);
        }
        let settings = Rc::new(settings);
        known.insert(Key(Rc::clone(&settings)));
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (name, sql) in vars {
            settings.set(name, (*sql).to_owned());
        }
        settings
    }

    fn texts(difference: &Difference) -> Vec<String> {
        let text = |sql: &Vec<u8>| String::from_utf8(sql.clone()).expect("UTF-8");
        difference.set.iter().map(text).collect()
    }

    #[test]
    fn equal_settings_are_one_pointer() {
        let table = SettingsTable::default();
        let a = table.intern(with(&[("sql_mode", "sql_mode=''"), ("@a", "@a=1")]));
        let b = table.intern(with(&[("@a", "@a=1"), ("sql_mode", "sql_mode=''")]));
        assert!(Rc::ptr_eq(&a, &b));
    }

    #[test]
    fn only_what_differs_is_sent() {
        let (a, b) =
            (with(&[("x", "x=1")]), with(&[("x", "x=1"), ("names", "NAMES latin1"), ("b", "b=2")]));
        let difference = a.difference(&b);
        assert_eq!(
            (difference.reset, texts(&difference)),
            (false, vec!["SET NAMES latin1, b=2".to_owned()])
        );
    }

    #[test]
    fn transaction_characteristics_are_a_statement_of_their_own() {
        let wanted = with(&[
            ("transaction access", "SESSION TRANSACTION READ ONLY"),
            ("x", "x=1"),
            ("z", "z=2"),
        ]);
        let set = texts(&Settings::default().difference(&wanted));
        assert_eq!(set, ["SET x=1, z=2", "SET SESSION TRANSACTION READ ONLY"]);
    }

    #[test]
    fn a_held_connection_is_never_reset() {
        let (a, b) = (
            with(&[
                ("@`x", "@`x=1"),
                ("names", "NAMES latin1"),
                ("time_zone", "time_zone='+1:00'"),
            ]),
            with(&[("y", "y=2")]),
        );
        let difference = a.difference_in_place(&b, Some("NAMES utf8mb4"));
        assert!(!difference.reset);
        let wanted = [
            "SET @```x` = NULL",
            "SET NAMES utf8mb4",
            "SET SESSION time_zone = DEFAULT",
            "SET y=2",
        ];
        assert_eq!(texts(&difference), wanted);
    }

    #[test]
    fn what_another_session_has_set_is_reset() {
        let difference =
            with(&[("@secret", "@secret=1"), ("x", "x=1")]).difference(&with(&[("x", "x=1")]));
        assert_eq!((difference.reset, texts(&difference)), (true, vec!["SET x=1".to_owned()]));
        assert!(!Settings::default().difference(&Settings::default()).reset);
    }

    #[test]
    fn settings_tell_the_character_sets() {
        let (utf8, latin1) = (Charset::Utf8, Charset::by_name("latin1"));
        for (collation, vars, client, connection) in [
            (45, &[][..], utf8, utf8),
            (8, &[][..], latin1, latin1),
            (45, &[("names", "NAMES latin1")][..], latin1, latin1),
            (45, &[("names", "NAMES 'latin1' COLLATE latin1_bin")][..], latin1, latin1),
            (8, &[("names", "NAMES utf8mb4 COLLATE utf8mb4_bin")][..], utf8, utf8),
            (
                45,
                &[("character_set_client", "@@session.character_set_client = 'latin1'")][..],
                latin1,
                utf8,
            ),
            (45, &[("collation_connection", "collation_connection=latin1_bin")][..], utf8, latin1),
            (45, &[("collation_connection", "collation_connection = utf8mb4_bin")][..], utf8, utf8),
            (45, &[("character set", "CHARACTER SET latin1")][..], latin1, utf8),
        ] {
            let settings = Settings { collation, ..with(vars) };
            assert_eq!(settings.charsets(), Charsets { client, connection }, "{vars:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_reset_by_everybody() {
        assert!(Settings::unknown().difference(&Settings::default()).reset);
        assert!(Settings::unknown().difference(&with(&[("x", "x=1")])).reset);
    }

    #[test]
    fn unused_settings_are_forgotten() {
        let table = SettingsTable::default();
        for i in 0..3 * SWEEP_AT {
            table.intern(with(&[("@i", &format!("@i={i}"))]));
        }
        assert!(table.known.borrow().len() <= SWEEP_AT);
    }
}
