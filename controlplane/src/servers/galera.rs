//! What a node of a Galera cluster says of itself, and whether it may be used. Pure.
use serde::Serialize;
use std::collections::BTreeMap;

/// Write sets that a node has received and not applied: a reader with more is too far behind.
pub(crate) const RECV_QUEUE_MAX: u64 = 100;

/// `wsrep_local_state`
const DONOR: u8 = 2;
const SYNCED: u8 = 4;

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Galera {
    /// Whose data it has.
    pub(crate) cluster_uuid: String,
    /// Counts the changes of the cluster's members.
    pub(crate) conf_id: u64,
    pub(crate) cluster_size: u32,
    /// In the component that has the majority.
    pub(crate) primary: bool,
    pub(crate) ready: bool,
    pub(crate) state: u8,
    /// `Synced`, `Donor/Desynced`, `Joined`, `Joining: receiving State Transfer`
    pub(crate) state_comment: String,
    pub(crate) desync: bool,
    pub(crate) rejects_queries: bool,
    /// As a donor, it answers no queries.
    pub(crate) donor_rejects_queries: bool,
    pub(crate) recv_queue: u64,
    /// The share of the time in which it stood still for others.
    pub(crate) flow_control_paused: f64,
    pub(crate) node_uuid: String,
    pub(crate) last_committed: u64,
}

/// Why a node is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It would answer, and should not be burdened: it gives its data to a joiner, or is
    /// desynchronised.
    Donor,
    /// It answers nothing, or wrongly.
    Cannot(String),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Donor => f.write_str("it is a donor or desynchronised"),
            Self::Cannot(why) => f.write_str(why),
        }
    }
}

impl Galera {
    /// Of its variables and its status, by lower-case name. `None`: it is in no cluster.
    pub(crate) fn of(said: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name: &str| said.get(name).map(String::as_str).unwrap_or_default();
        let is = |name: &str, value: &str| text(name).eq_ignore_ascii_case(value);
        if !is("wsrep_on", "ON") {
            return None;
        }
        let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
        Some(Self {
            cluster_uuid: text("wsrep_cluster_state_uuid").to_owned(),
            conf_id: number("wsrep_cluster_conf_id"),
            cluster_size: u32::try_from(number("wsrep_cluster_size")).unwrap_or_default(),
            primary: is("wsrep_cluster_status", "Primary"),
            ready: is("wsrep_ready", "ON"),
            state: u8::try_from(number("wsrep_local_state")).unwrap_or_default(),
            state_comment: text("wsrep_local_state_comment").to_owned(),
            desync: is("wsrep_desync", "ON"),
            rejects_queries: !is("wsrep_reject_queries", "NONE")
                && !text("wsrep_reject_queries").is_empty(),
            donor_rejects_queries: is("wsrep_sst_donor_rejects_queries", "ON"),
            recv_queue: number("wsrep_local_recv_queue"),
            flow_control_paused: text("wsrep_flow_control_paused")
                .parse()
                .unwrap_or_default(),
            node_uuid: text("wsrep_gcomm_uuid").to_owned(),
            last_committed: number("wsrep_last_committed"),
        })
    }

    pub(crate) fn fitness(&self) -> Result<(), Unfit> {
        let cannot = |why: &str| Err(Unfit::Cannot(why.to_owned()));
        if !self.primary {
            return cannot("it is not in the component with the majority of the cluster");
        }
        if self.rejects_queries {
            return cannot("wsrep_reject_queries is set");
        }
        match self.state {
            DONOR if self.donor_rejects_queries && !self.desync => {
                cannot("it is a donor, and rejects queries meanwhile")
            }
            _ if !self.ready => cannot(&format!("wsrep_ready is OFF: {}", self.state_comment)),
            SYNCED if self.desync => Err(Unfit::Donor),
            SYNCED => Ok(()),
            DONOR => Err(Unfit::Donor),
            _ => cannot(&format!("it is not synchronised: {}", self.state_comment)),
        }
    }

    pub(crate) fn is_fit(&self) -> bool {
        self.fitness().is_ok()
    }

    /// It has not applied much of what it has received.
    pub(crate) fn lags(&self) -> bool {
        self.recv_queue > RECV_QUEUE_MAX
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A node that is well, with these changes.
    pub(crate) fn node(changes: &[(&str, &str)]) -> Galera {
        let well = [
            ("wsrep_on", "ON"),
            ("wsrep_cluster_state_uuid", "c1"),
            ("wsrep_cluster_conf_id", "3"),
            ("wsrep_cluster_size", "3"),
            ("wsrep_cluster_status", "Primary"),
            ("wsrep_ready", "ON"),
            ("wsrep_local_state", "4"),
            ("wsrep_local_state_comment", "Synced"),
            ("wsrep_desync", "OFF"),
            ("wsrep_reject_queries", "NONE"),
            ("wsrep_sst_donor_rejects_queries", "OFF"),
            ("wsrep_local_recv_queue", "0"),
            ("wsrep_gcomm_uuid", "n1"),
        ];
        let mut said: BTreeMap<String, String> = well
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        for (name, value) in changes {
            said.insert((*name).to_owned(), (*value).to_owned());
        }
        Galera::of(&said).unwrap()
    }

    #[test]
    fn only_nodes_that_are_well_are_fit() {
        assert_eq!(Galera::of(&BTreeMap::from([("wsrep_on".to_owned(), "OFF".to_owned())])), None);
        assert!(node(&[]).is_fit() && node(&[]).conf_id == 3);
        assert_eq!(node(&[("wsrep_desync", "ON")]).fitness(), Err(Unfit::Donor));
        let donor = [("wsrep_local_state", "2"), ("wsrep_local_state_comment", "Donor/Desynced")];
        assert_eq!(node(&donor).fitness(), Err(Unfit::Donor));
        let rejecting = [donor[0], donor[1], ("wsrep_sst_donor_rejects_queries", "ON")];
        for (changes, why) in [
            (&[("wsrep_cluster_status", "non-Primary")][..], "majority"),
            (&[("wsrep_ready", "OFF")], "wsrep_ready"),
            (&[("wsrep_reject_queries", "ALL")], "wsrep_reject_queries"),
            (&[("wsrep_local_state", "3"), ("wsrep_local_state_comment", "Joined")], "Joined"),
            (&rejecting, "rejects queries"),
        ] {
            let Err(Unfit::Cannot(said)) = node(changes).fitness() else { panic!("{changes:?}") };
            assert!(said.contains(why), "{said}");
        }
        assert!(node(&[("wsrep_local_recv_queue", "101")]).lags() && !node(&[]).lags());
    }
}
