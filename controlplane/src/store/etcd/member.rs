//! The lease of this process: what it says of itself, and the lead, last as long as it does.
use super::gateway::Failure;
use super::kv::{If, Op};
use super::peers::{Process, Roster};
use super::{Etcd, Lease};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A process that is silent for so long counts as gone, in seconds. etcd takes it as a whole
/// number.
const LEASE_S: i64 = 5;
/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(1);
/// Before its end, the lease counts as ended here: clocks differ, and what was begun takes a
/// moment.
const MARGIN: Duration = Duration::from_millis(1_000);
const RETRY: Duration = Duration::from_millis(500);

/// Until the program ends.
pub(super) async fn run(
    etcd: Arc<Etcd>,
    about: watch::Receiver<Process>,
    roster: watch::Receiver<Roster>,
) {
    loop {
        let _ = hold(&etcd, about.clone(), roster.clone()).await;
        // What hangs on it must not hold up the next.
        let _ = etcd.gateway.revoke(etcd.lease().id).await;
        etcd.set_lease(Lease::default());
        tokio::time::sleep(RETRY).await;
    }
}

/// One lease, until it is lost.
async fn hold(
    etcd: &Etcd,
    mut about: watch::Receiver<Process>,
    mut roster: watch::Receiver<Roster>,
) -> Result<(), Failure> {
    let asked = Instant::now();
    let id = etcd.gateway.grant(LEASE_S).await?;
    etcd.set_lease(Lease { id, until: until(asked, LEASE_S) });
    about.mark_changed();
    let mut renew = tokio::time::interval_at(tokio::time::Instant::now() + RENEW, RENEW);
    renew.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unsaid = true;
    loop {
        if std::mem::take(&mut unsaid) {
            let process = about.borrow_and_update().clone();
            unsaid = !said(etcd, id, &process).await?;
        }
        let leaderless = roster.borrow_and_update().leader.is_none();
        if leaderless && etcd.valid_lease() == Some(id) {
            lead(etcd, id).await;
        }
        tokio::select! {
            _ = renew.tick() => {
                let asked = Instant::now();
                match etcd.gateway.keep_alive(id).await {
                    Ok(0) => return Ok(()),
                    Ok(seconds) => etcd.set_lease(Lease { id, until: until(asked, seconds) }),
                    // It may last still; what hangs on it waits.
                    Err(_) => {}
                }
            }
            changed = about.changed() => match changed {
                Ok(()) => unsaid = true,
                Err(_) => std::future::pending().await,
            },
            changed = roster.changed() => if changed.is_err() { std::future::pending().await },
        }
    }
}

fn until(asked: Instant, seconds: i64) -> Option<Instant> {
    let whole = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    asked.checked_add(whole.saturating_sub(MARGIN))
}

/// Writes what the process says of itself. `false`: it could not be.
async fn said(etcd: &Etcd, lease: i64, process: &Process) -> Result<bool, Failure> {
    let key = format!("{}{}", etcd.layout.processes(), process.id);
    let value = serde_json::to_string(process).unwrap_or_default();
    match etcd
        .gateway
        .transact(&[], &[Op::Put { key, value, lease }], &[])
        .await
    {
        Ok(_) => Ok(true),
        // The lease is no more, or etcd is away: then renewing it tells.
        Err(_) => match etcd.gateway.keep_alive(lease).await? {
            0 => Err(Failure::Refused("the lease has ended".to_owned())),
            _ => Ok(false),
        },
    }
}

/// Takes the lead where nobody has it.
async fn lead(etcd: &Etcd, lease: i64) {
    let key = etcd.layout.leader();
    let value = serde_json::json!({"process": etcd.id, "lease": lease}).to_string();
    let taken = etcd
        .gateway
        .transact(&[If::Created(key.clone(), 0)], &[Op::Put { key, value, lease }], &[])
        .await;
    if taken.is_ok_and(|outcome| outcome.held) {
        tracing::info!("this process leads: it replaces dead primaries and repairs replication");
    }
}

impl Etcd {
    fn set_lease(&self, lease: Lease) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }
}
