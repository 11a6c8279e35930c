//! What is wrong with a shard whose servers are a Galera cluster. They keep each other's data; one
//! of them gets the writes, so that transactions do not meet. If it cannot, another one gets them:
//! nobody is promoted. Pure.
//!
//! | analysis | recovery |
//! | --- | --- |
//! | `GaleraWriterUnfit` | another node that is synchronised, in the component with the majority, gets the writes |
//! | `GaleraWithoutMajority` | none: no node may be used; reported |
//! | `PrimaryIsReadOnly` | it is made writable |
//! | `InvalidPrimary` | none: it does not let us in; reported |
use super::{Analysis, Member, ShardView};
use crate::health::{State, Trouble};
use crate::servers::galera::{Galera, Unfit};

impl ShardView<'_> {
    /// As far as any of its servers has said so.
    pub(crate) fn is_galera(&self) -> bool {
        self.replicas
            .iter()
            .chain([&self.primary])
            .any(|m| m.last_galera().is_some())
    }

    /// Whose data the writer had when it was last asked.
    pub(crate) fn cluster_uuid(&self) -> Option<&str> {
        let last = self.primary.last_galera()?;
        Some(last.cluster_uuid.as_str()).filter(|uuid| !uuid.is_empty())
    }
}

impl<'a> Member<'a> {
    /// What it said when it was last reached.
    fn last_galera(&self) -> Option<&'a Galera> {
        self.health?.facts.as_ref()?.galera.as_ref()
    }

    /// It can be asked, and may get the writes of this cluster.
    fn may_write(&self, cluster: Option<&str>) -> bool {
        let galera = self.facts().and_then(|f| f.galera.as_ref());
        let same = |g: &Galera| cluster.is_none_or(|uuid| uuid == g.cluster_uuid);
        self.record.kind.is_candidate() && galera.is_some_and(|g| g.is_fit() && same(g))
    }
}

pub(super) fn analyse(shard: &ShardView<'_>) -> Option<Analysis> {
    let health = shard.primary.health?;
    let fit = match (health.state, health.trouble) {
        (State::Unknown, _) | (_, Some(Trouble::OutOfConnections)) => return None,
        (State::Unreachable, Some(Trouble::Refused)) => return Some(Analysis::InvalidPrimary),
        (State::Unreachable, _) => Err(Unfit::Cannot("it is not reached".to_owned())),
        _ => match shard.primary.facts()?.galera.as_ref() {
            Some(galera) => galera.fitness(),
            None => Err(Unfit::Cannot("it has left the cluster".to_owned())),
        },
    };
    let cluster = shard.cluster_uuid();
    let other = shard.replicas.iter().any(|m| m.may_write(cluster));
    match fit {
        Ok(()) if shard.primary.facts()?.read_only => Some(Analysis::PrimaryIsReadOnly),
        Ok(()) => None,
        Err(_) if other => Some(Analysis::GaleraWriterUnfit),
        // It gives its data to a joiner, and still answers: better than nobody.
        Err(Unfit::Donor) => None,
        Err(Unfit::Cannot(_)) => Some(Analysis::GaleraWithoutMajority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Recovery;
    use crate::analysis::tests::{alive, down, record};
    use crate::health::Health;
    use crate::servers::galera::tests::node;
    use crate::servers::status::Facts;
    use crate::topology::Kind;

    fn of(primary: &Health, replica: &Health, kind: Kind) -> Option<Analysis> {
        let (first, second) = (record("p", Kind::Primary), record("r1", kind));
        let view = ShardView {
            primary: Member { record: &first, health: Some(primary), stale: false },
            replicas: vec![Member { record: &second, health: Some(replica), stale: false }],
            semi_sync: Some(true),
            stall: std::time::Duration::from_secs(10),
        };
        assert!(view.is_galera());
        super::super::analyse(&view).into_iter().next()
    }

    fn with(changes: &[(&str, &str)]) -> Health {
        alive(Facts {
            version: "10.11.6-MariaDB".into(),
            galera: Some(node(changes)),
            ..Facts::default()
        })
    }

    #[test]
    fn who_cannot_write_is_replaced_by_one_who_can() {
        let well = with(&[]);
        let alone = with(&[("wsrep_cluster_status", "non-Primary")]);
        let donor = with(&[("wsrep_local_state", "2")]);
        let joiner = with(&[("wsrep_local_state", "1"), ("wsrep_ready", "OFF")]);
        let foreign = with(&[("wsrep_cluster_state_uuid", "c2")]);
        let dead = Health { facts: with(&[]).facts, ..down(Trouble::Dead) };
        let left = alive(Facts { version: "10.11.6-MariaDB".into(), ..Facts::default() });
        let (unfit, nobody) =
            (Some(Analysis::GaleraWriterUnfit), Some(Analysis::GaleraWithoutMajority));
        for (primary, replica, kind, wanted) in [
            (&well, &well, Kind::Replica, None),
            (&well, &alone, Kind::Replica, None),
            (&dead, &well, Kind::Replica, unfit.clone()),
            (&dead, &well, Kind::Spare, unfit.clone()),
            (&dead, &well, Kind::Rdonly, nobody.clone()),
            (&dead, &joiner, Kind::Replica, nobody.clone()),
            (&dead, &foreign, Kind::Replica, nobody.clone()),
            (&alone, &well, Kind::Replica, unfit.clone()),
            (&alone, &alone, Kind::Replica, nobody),
            (&left, &well, Kind::Replica, unfit.clone()),
            (&donor, &well, Kind::Replica, unfit),
            (&donor, &joiner, Kind::Replica, None),
        ] {
            assert_eq!(of(primary, replica, kind), wanted, "{primary:?} {replica:?}");
        }
        assert_eq!(Analysis::GaleraWriterUnfit.recovery(), Recovery::Emergency);
        assert_eq!(Analysis::GaleraWithoutMajority.recovery(), Recovery::Report);
        let refused = Health { facts: with(&[]).facts, ..down(Trouble::Refused) };
        assert_eq!(of(&refused, &well, Kind::Replica), Some(Analysis::InvalidPrimary));
        let mut read_only = with(&[]);
        if let Some(facts) = &mut read_only.facts {
            facts.read_only = true;
        }
        assert_eq!(of(&read_only, &well, Kind::Replica), Some(Analysis::PrimaryIsReadOnly));
    }
}
