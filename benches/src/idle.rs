//! What a resting connection costs the process that holds it: its resident memory before and after.
use crate::Error;
use crate::args::IdleArgs;
use crate::conn::Connection;
use crate::process::resident_kib;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

/// Connections that are opened, used and closed before the measurement: what the process keeps for
/// good is then there.
const WARM_UP: u32 = 64;
/// The process may still have something to do.
const SETTLE: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &IdleArgs) -> Result<(), Error> {
    let [pid, ..] = args.target.pids[..] else {
        return Err(Error::Usage(
            "--target: say whose memory counts: mysql://...?pid=PID".to_owned(),
        ));
    };
    let limit = getrlimit(Resource::Nofile);
    // If it cannot be raised, a connection will say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let open = |count: u32| -> Result<Vec<Connection>, Error> {
        (0..count)
            .map(|_| {
                let mut conn = Connection::open(&args.target, None)?;
                conn.query("SELECT 1")?;
                Ok(conn)
            })
            .collect()
    };
    drop(open(WARM_UP)?);
    std::thread::sleep(SETTLE);
    let before = resident_kib(pid)?;
    let resting = open(args.connections)?;
    std::thread::sleep(SETTLE);
    let after = resident_kib(pid)?;
    let each = after.saturating_sub(before) as f64 / f64::from(args.connections);
    crate::out::say(&format!(
        "{} resting connections, each after one query: {before} -> {after} KiB, {each:.2} KiB a \
            connection",
        resting.len()
    ));
    Ok(())
}
