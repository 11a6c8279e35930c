//! How the servers compare text: what one of them says of the collations in use. It is asked once
//! for each collation.
use crate::sql::{Conn, Error, Row, Value};
use coregate_planner::collation::{AsciiWeights, Collation};
use coregate_planner::vschema::ServerTable;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A collation, or that it cannot be compared by weights.
type Answer = Option<Arc<Collation>>;

/// All that was ever answered: by the server's version and the collation's name.
pub(crate) type Cache = BTreeMap<(String, String), Answer>;

/// What is to be found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) database: String,
    /// Collations of columns, beside the server's own choices.
    pub(crate) names: BTreeSet<String>,
    pub(crate) cache: Arc<Cache>,
}

/// Those in use, and what is known of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) version: String,
    pub(crate) collations: BTreeMap<String, Answer>,
}

impl Wanted {
    pub(crate) fn of(database: &str, tables: &[ServerTable], cache: Arc<Cache>) -> Self {
        let columns = tables.iter().flat_map(|table| &table.columns);
        let names =
            columns.filter_map(|column| Some(column.collation.as_ref()?.to_ascii_lowercase()));
        Self { database: database.to_owned(), names: names.collect(), cache }
    }
}

impl Answers {
    /// So that nobody asks again.
    pub(crate) fn remember(&self, cache: &mut Arc<Cache>) {
        let key = |name: &String| (self.version.clone(), name.clone());
        if self
            .collations
            .keys()
            .all(|name| cache.contains_key(&key(name)))
        {
            return;
        }
        let cache = Arc::make_mut(cache);
        cache.extend(
            self.collations
                .iter()
                .map(|(name, answer)| (key(name), answer.clone())),
        );
    }
}

/// The collations of all keyspaces. Where servers of different kinds do not agree on one, it cannot
/// be compared.
pub(crate) fn in_use<'a>(answers: impl Iterator<Item = &'a Answers>) -> Vec<Arc<Collation>> {
    let mut by_name: BTreeMap<&str, Option<&Arc<Collation>>> = BTreeMap::new();
    for (name, answer) in answers.flat_map(|answers| &answers.collations) {
        let known = by_name.entry(name).or_insert(answer.as_ref());
        if *known != answer.as_ref() {
            *known = None;
        }
    }
    by_name.into_values().flatten().cloned().collect()
}

/// Asks a server.
///
/// # Errors
/// The connection has ended. A collation of which the server refuses to tell cannot be compared by
/// weights.
pub(crate) async fn ask(conn: &mut Conn, wanted: Wanted) -> Result<Answers, Error> {
    let Wanted { database, mut names, cache } = wanted;
    let Some(server) = server(conn, &database, &mut names).await? else {
        return Ok(Answers::default());
    };
    let mut answers = Answers { version: server.version.clone(), collations: BTreeMap::new() };
    for name in names {
        let known = cache.get(&(server.version.clone(), name.clone()));
        let answer = match known {
            Some(answer) => answer.clone(),
            None => probe(conn, &server, &name).await?,
        };
        answers.collations.insert(name, answer);
    }
    Ok(answers)
}

struct Server {
    version: String,
    mariadb: bool,
}

/// What the server is. Adds the collations that it takes where nobody names one.
async fn server(
    conn: &mut Conn,
    database: &str,
    names: &mut BTreeSet<String>,
) -> Result<Option<Server>, Error> {
    const DEFAULTS: &str = "SELECT VERSION(), @@collation_server, COLLATION(CONVERT('' USING \
        utf8mb4)), \
         (SELECT MAX(default_collation_name) FROM information_schema.schemata WHERE schema_name = \
         ?)";
    let Some(row) = unless_refused(conn.exec_first::<Row>(DEFAULTS, (database,)).await)?.flatten()
    else {
        return Ok(None);
    };
    let mut cells = row.into_cells().into_iter().map(text);
    let version = cells.next().flatten().unwrap_or_default();
    names.extend(cells.flatten().map(|name| name.to_ascii_lowercase()));
    let mariadb = version.contains("MariaDB");
    Ok(Some(Server { version, mariadb }))
}

fn text(value: Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes).ok())
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn unless_refused<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(Error::Server(why)) => {
            tracing::debug!("a server does not tell how it compares text: {why}");
            Ok(None)
        }
        result => result.map(Some),
    }
}

async fn probe(conn: &mut Conn, server: &Server, name: &str) -> Result<Answer, Error> {
    // Names cannot be bound.
    if !name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    {
        return Ok(None);
    }
    let collation =
        Collation { name: name.to_owned(), binary: is_binary(name), ..Collation::default() };
    if collation.binary {
        return Ok(Some(Arc::new(collation)));
    }
    let Some(pads) = pads(conn, server, name).await? else { return Ok(None) };
    let row = conn.query_first::<Row>(question(name)).await;
    let Some(row) = unless_refused(row)?.flatten() else { return Ok(None) };
    let weights = row
        .into_cells()
        .into_iter()
        .map(bytes)
        .collect::<Option<Vec<_>>>();
    Ok(weights
        .and_then(|weights| Weights::of(&weights)?.collation(collation, pads))
        .map(Arc::new))
}

/// Is the order that of the bytes, whatever the connection's character set? That of a single-byte
/// character set is another one once its text is sent as UTF-8.
fn is_binary(name: &str) -> bool {
    match name {
        "binary" | "utf8mb4_0900_bin" => true,
        _ => {
            let charset = name.strip_suffix("_nopad_bin");
            charset
                .is_some_and(|charset| matches!(charset, "utf8" | "utf8mb3" | "utf8mb4" | "ascii"))
        }
    }
}

/// Are shorter strings filled up with spaces? `None`: the server has no such collation.
async fn pads(conn: &mut Conn, server: &Server, name: &str) -> Result<Option<bool>, Error> {
    if server.mariadb {
        return Ok(Some(!name.contains("_nopad_")));
    }
    const PAD: &str =
        "SELECT pad_attribute FROM information_schema.collations WHERE collation_name = ?";
    match unless_refused(conn.exec_first::<Row>(PAD, (name,)).await)? {
        // Before MySQL 8.0 all but `binary` pad.
        None => Ok(Some(true)),
        Some(row) => {
            let attribute = row.and_then(|row| text(row.into_cells().into_iter().next()?));
            Ok(attribute.map(|attribute| attribute != "NO PAD"))
        }
    }
}

/// The weights of all ASCII characters, then those of a text that has all pairs of them.
fn question(name: &str) -> String {
    let charset = name.split('_').next().unwrap_or_default();
    let mut sql = "SELECT ".to_owned();
    let mut weight = |text: &[u8], end: &str| {
        sql.push_str("WEIGHT_STRING(CONVERT(_latin1 X'");
        for byte in text {
            for digit in [byte >> 4, byte & 15] {
                sql.extend(char::from_digit(digit.into(), 16));
            }
        }
        sql.extend(["' USING ", charset, ") COLLATE ", name, ")", end]);
    };
    for byte in 0..128 {
        weight(&[byte], ",");
    }
    weight(b"12", ",");
    weight(&all_pairs(), "");
    sql
}

/// A text in which each of the 16,384 pairs of ASCII characters stands once.
fn all_pairs() -> Vec<u8> {
    let row = |a: u8| std::iter::once(a).chain((a + 1..128).flat_map(move |b| [a, b]));
    (0..128).flat_map(row).chain([0]).collect()
}

/// What [`question`] is answered.
struct Weights<'a> {
    single: &'a [Vec<u8>],
    digits: &'a [u8],
    pairs: &'a [u8],
}

impl<'a> Weights<'a> {
    fn of(answer: &'a [Vec<u8>]) -> Option<Self> {
        let (single, rest) = answer.split_at_checked(128)?;
        let [digits, pairs] = rest else { return None };
        Some(Self { single, digits, pairs })
    }

    fn collation(&self, collation: Collation, pads: bool) -> Option<Collation> {
        let mut space = Vec::new();
        if pads {
            // The weights of several levels stand one level behind the other: padding would go
            // between them.
            if !self.concatenate(b"12", self.digits) {
                return None;
            }
            space.clone_from(&self.single[usize::from(b' ')]);
            // Nothing can be filled up with what has no weight.
            if space.is_empty() {
                return None;
            }
        }
        // In others, the bytes below 128 may be other characters, or several of them one.
        let table = is_ascii(&collation.name) && self.concatenate(&all_pairs(), self.pairs);
        let ascii = table
            .then(|| AsciiWeights::new(self.single.iter().map(Vec::as_slice)))
            .flatten()
            .map(Box::new);
        Some(Collation { space, ascii, ..collation })
    }

    /// Is the weight of this text the weights of its characters, one after another?
    fn concatenate(&self, text: &[u8], weight: &[u8]) -> bool {
        let singles = text.iter().filter_map(|c| self.single.get(usize::from(*c)));
        singles.flatten().eq(weight)
    }
}

/// Is ASCII text the same bytes in this collation's character set?
fn is_ascii(name: &str) -> bool {
    let charset = name.split('_').next().unwrap_or_default();
    !matches!(charset, "swe7" | "ucs2" | "utf16" | "utf16le" | "utf32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_are_there() {
        let text = all_pairs();
        assert_eq!(text.len(), 128 * 128 + 1);
        let pairs: BTreeSet<&[u8]> = text.windows(2).collect();
        assert_eq!(pairs.len(), 128 * 128);
    }

    /// Weights of two bytes each, but for a contraction.
    fn answer(contracted: Option<[u8; 2]>) -> Vec<Vec<u8>> {
        let weight = |c: u8| if c < 32 { Vec::new() } else { vec![1, c] };
        let mut answer: Vec<Vec<u8>> = (0..128).map(weight).collect();
        answer.push([weight(b'1'), weight(b'2')].concat());
        let text = all_pairs();
        let mut pairs: Vec<u8> = Vec::new();
        let mut at = 0;
        while let Some(&c) = text.get(at) {
            if contracted.is_some_and(|pair| text[at..].starts_with(&pair)) {
                pairs.push(9);
                at += 1;
            } else {
                pairs.extend(weight(c));
            }
            at += 1;
        }
        answer.push(pairs);
        answer
    }

    fn collation(name: &str, answer: &[Vec<u8>], pads: bool) -> Option<Collation> {
        let collation = Collation { name: name.to_owned(), ..Collation::default() };
        Weights::of(answer)?.collation(collation, pads)
    }

    #[test]
    fn tables_need_weights_that_stand_alone() {
        let good = collation("utf8mb4_x_ci", &answer(None), true).unwrap();
        assert_eq!(good.space, [1, b' ']);
        let table = good.ascii.unwrap();
        assert_eq!(table.of(b'a'), [1, b'a']);
        assert!(table.of(b'\t').is_empty());
        let contracted = collation("utf8mb4_x_ci", &answer(Some(*b"ch")), true).unwrap();
        assert_eq!((contracted.space, contracted.ascii), (vec![1, b' '], None));
        assert!(
            collation("utf16_x_ci", &answer(None), true)
                .unwrap()
                .ascii
                .is_none()
        );
        assert!(
            collation("utf8mb4_x_ci", &answer(None), false)
                .unwrap()
                .space
                .is_empty()
        );
    }

    #[test]
    fn what_pads_between_levels_is_not_offered() {
        let mut levels = answer(None);
        levels[128] = vec![1, b'1', 1, b'2', 0, 0];
        assert_eq!(collation("utf8mb4_x_cs", &levels, true), None);
        levels[129].extend([0, 0]);
        let without_padding = collation("utf8mb4_x_cs", &levels, false).unwrap();
        assert_eq!((without_padding.space, without_padding.ascii), (Vec::new(), None));
        let mut ignored = answer(None);
        ignored[usize::from(b' ')].clear();
        assert_eq!(collation("utf8mb4_x_ci", &ignored, true), None);
        assert_eq!(collation("utf8mb4_x_ci", &ignored[1..], true), None);
    }

    #[test]
    fn bytes_are_the_order_of_few() {
        for name in ["binary", "utf8mb4_0900_bin", "utf8mb3_nopad_bin", "ascii_nopad_bin"] {
            assert!(is_binary(name), "{name}");
        }
        for name in ["utf8mb4_bin", "latin1_nopad_bin", "utf16_nopad_bin", "ascii_bin"] {
            assert!(!is_binary(name), "{name}");
        }
    }
}
