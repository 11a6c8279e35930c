//! What the system knows of a process, and processes that we start.
use crate::Error;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end when it is asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(45);

/// CPU time of a process so far, user and system, of all its threads, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, Error> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::failed(&path, e))?;
    let ticks = cpu_ticks(&text).ok_or_else(|| Error::failed(&path, "cannot be read"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The 14th and 15th field; the second, a name in parentheses, may hold blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::failed(&path, e))?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_ascii_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .ok_or_else(|| Error::failed(&path, "has no VmRSS"))
}

/// A program in PATH or where system programs are.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(
        ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/sbin"].map(PathBuf::from),
    );
    dirs.iter()
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .find(|path| path.is_file())
}

/// A temporary directory that is taken away even when a signal ends this process: a shell waits for
/// that.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    /// Its standard input is closed when we are gone.
    _watch: Option<Child>,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, Error> {
        let dir = tempfile::tempdir().map_err(|e| Error::failed("a temporary directory", e))?;
        // What is being made there writes on until it is done, and may make the directory anew: it
        // must be gone for a while.
        let script = "cat >/dev/null; n=0; gone=0; while [ $n -lt 60 ] && [ $gone -lt 3 ]; do rm \
            -rf \"$1\"; \
            if [ -e \"$1\" ]; then gone=0; else gone=$((gone+1)); fi; sleep 1; n=$((n+1)); done";
        let watch = find(&["setsid"]).and_then(|setsid| {
            let mut command = Command::new(setsid);
            command.args(["sh", "-c", script, "sh"]).arg(dir.path());
            let quiet = command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            quiet.spawn().ok()
        });
        Ok(Self { dir, _watch: watch })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A process in a session of its own, ended when this is dropped.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts a program under `setsid`, which becomes that program: the pid stays. What it says
    /// goes to `log`. It is asked to end when this process is gone, however that came (Ctrl-C, a
    /// signal): nothing of a comparison stays behind.
    pub(crate) fn start(program: &Path, args: &[String], log: &Path) -> Result<Self, Error> {
        let missing =
            || Error::Failed("setsid and setpriv are missing: install util-linux".to_owned());
        let setsid = find(&["setsid"]).ok_or_else(missing)?;
        let setpriv = find(&["setpriv"]).ok_or_else(missing)?;
        let out = std::fs::File::create(log).map_err(|e| Error::failed(log.display(), e))?;
        let child = Command::new(setsid)
            .arg(setpriv)
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(out)
            .spawn()
            .map_err(|e| Error::failed(program.display(), e))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` gives something.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = ready() {
                return Ok(found);
            }
            let ended = self.child.try_wait().ok().flatten().is_some();
            if ended || Instant::now() > deadline {
                let why = if ended { "it ended" } else { "it is not ready in time" };
                return Err(Error::Failed(format!("{what}: {why}: {}", self.last_words())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first line on stdout that begins with `start`.
    pub(crate) fn line(&mut self, what: &str, start: &str) -> Result<String, Error> {
        let lines = self
            .child
            .stdout
            .take()
            .map(|out| BufReader::new(out).lines());
        let found = lines
            .into_iter()
            .flatten()
            .map_while(Result::ok)
            .find(|line| line.starts_with(start));
        found.ok_or_else(|| Error::Failed(format!("{what} does not start: {}", self.last_words())))
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut tail: Vec<&str> = text.lines().rev().take(3).collect();
        tail.reverse();
        tail.join(" | ")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be gone already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_stat_line() {
        let stat = "1 (a b) c) S 0 1 1 0 -1 4194560 1 2 3 4 50 7 8 9 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(57));
        assert_eq!(cpu_ticks("1 (x) S 1"), None);
        assert!(
            cpu_seconds(std::process::id()).is_ok()
                && resident_kib(std::process::id()).is_ok_and(|kib| kib > 0)
        );
    }
}
