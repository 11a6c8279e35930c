//! Servers that a killed `coregate local` has left running are stopped before new ones start on
//! their data.
use crate::Error;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a server may take to stop before it is killed.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Stops the servers whose pid files lie under `tablets`, if those processes really are servers on
/// that data.
pub(super) async fn stop(tablets: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(tablets).map_err(Error::file(tablets))? {
        let dir = entry.map_err(Error::file(tablets))?.path();
        // Ours, written when the server is launched, and the server's own.
        for file in ["pid", "mariadbd.pid"].map(|name| dir.join(name)) {
            if let Some(pid) = read_pid(&file).filter(|pid| is_server(*pid, &dir.join("data"))) {
                tracing::warn!(pid, dir = %dir.display(), "stopping a server that an earlier run \
                    has left");
                stop_process(pid).await?;
            }
            let _ = std::fs::remove_file(&file);
        }
    }
    Ok(())
}

fn read_pid(file: &Path) -> Option<i32> {
    std::fs::read_to_string(file)
        .ok()?
        .trim()
        .parse()
        .ok()
        .filter(|pid| *pid > 1)
}

/// Pids are used again: only a process with this data directory on its command line is meant.
fn is_server(pid: i32, data: &Path) -> bool {
    let wanted = format!("--datadir={}", data.display());
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0).any(|arg| arg == wanted.as_bytes())
}

/// There, and not a zombie that its parent has not waited for.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn stop_process(pid: i32) -> Result<(), Error> {
    use rustix::process::{Pid, Signal, kill_process};
    let Some(id) = Pid::from_raw(pid) else { return Ok(()) };
    for (signal, patience) in
        [(Signal::TERM, STOP_PATIENCE), (Signal::KILL, Duration::from_secs(5))]
    {
        let _ = kill_process(id, signal);
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if !runs(pid) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Err(Error::Server(format!(
        "the server with pid {pid}, left by an earlier run, cannot be stopped; stop it by hand"
    )))
}
