//! Who takes a dead primary's place. Pure.
use crate::gtid::Position;
use crate::topology::Kind;

#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) alias: String,
    pub(crate) kind: Kind,
    /// What it has received; `None`: it could not be asked.
    pub(crate) received: Option<Position>,
    /// It could not be asked, and others have all that it could have acknowledged; or the operator
    /// says so.
    pub(crate) ignored: bool,
}

/// The most advanced one; of equals, the wanted one, the one in the old primary's cell, the first.
/// A wanted one that lacks something can get it from there.
///
/// # Errors
/// None of them is known to have everything that was acknowledged.
pub(crate) fn elect<'c>(
    candidates: &'c [Candidate],
    cell: &str,
    wanted: Option<&str>,
    semi_sync: bool,
) -> Result<&'c Candidate, String> {
    let able: Vec<&Candidate> = candidates
        .iter()
        .filter(|c| c.kind.is_candidate())
        .collect();
    if semi_sync && let Some(away) = able.iter().find(|c| c.received.is_none() && !c.ignored) {
        return Err(format!(
            "the replica {} cannot be reached: it may be the only one that has acknowledged the \
                last writes; bring it back, or \
             give it up with emergency-reparent-shard --ignore-replicas",
            away.alias
        ));
    }
    let there: Vec<(&Candidate, &Position)> = able
        .iter()
        .filter_map(|c| Some((*c, c.received.as_ref()?)))
        .collect();
    let covers_all = |position: &Position| there.iter().all(|(_, other)| position.covers(other));
    let best: Vec<&Candidate> = there
        .iter()
        .filter(|(_, position)| covers_all(position))
        .map(|(c, _)| *c)
        .collect();
    if there.is_empty() {
        return Err("no replica can be reached that could be promoted".to_owned());
    }
    if best.is_empty() {
        return Err("each replica lacks transactions that another one has".to_owned());
    }
    if let Some(wanted) = wanted {
        if !there.iter().any(|(c, _)| c.alias == wanted) {
            return Err(format!("{wanted} is no replica that can be reached and promoted"));
        }
        if let Some(found) = best.iter().find(|c| c.alias == wanted) {
            return Ok(found);
        }
    }
    let near = |c: &&Candidate| c.alias.rsplit_once('-').is_some_and(|(of, _)| of == cell);
    let first = best
        .iter()
        .copied()
        .find(near)
        .or_else(|| best.first().copied());
    first.ok_or_else(|| "no replica can be promoted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(alias: &str, received: &str) -> Candidate {
        let received = (received != "?").then(|| Position::mariadb(received).unwrap());
        Candidate { alias: alias.into(), kind: Kind::Replica, received, ignored: false }
    }

    #[test]
    fn the_most_advanced_is_elected() {
        let all = [candidate("b-1", "0-1-7"), candidate("a-2", "0-1-9"), candidate("b-3", "0-1-9")];
        let elected = |cell, wanted| elect(&all, cell, wanted, true).map(|c| c.alias.clone());
        assert_eq!(elected("b", None).unwrap(), "b-3");
        assert_eq!(elected("c", None).unwrap(), "a-2");
        assert_eq!(elected("b", Some("a-2")).unwrap(), "a-2");
        assert_eq!(elected("b", Some("b-1")).unwrap(), "b-3", "it is behind");
        assert!(elected("b", Some("b-9")).unwrap_err().contains("b-9"));
        let rdonly = [
            Candidate { kind: Kind::Rdonly, ..candidate("a-1", "0-1-9") },
            candidate("a-2", "0-1-8"),
        ];
        assert_eq!(elect(&rdonly, "a", None, true).unwrap().alias, "a-2");
    }

    #[test]
    fn who_is_away_may_be_the_only_one_that_acknowledged() {
        let mut all = [candidate("a-1", "0-1-9"), candidate("a-2", "?")];
        assert!(elect(&all, "a", None, true).unwrap_err().contains("a-2"));
        assert_eq!(elect(&all, "a", None, false).unwrap().alias, "a-1");
        all[1].ignored = true;
        assert_eq!(elect(&all, "a", None, true).unwrap().alias, "a-1");
        assert!(elect(&[], "a", None, true).is_err());
        let forked = [candidate("a-1", "0-1-9,1-1-1"), candidate("a-2", "0-1-8,1-1-2")];
        assert!(
            elect(&forked, "a", None, false)
                .unwrap_err()
                .contains("lacks")
        );
    }
}
