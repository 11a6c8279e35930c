//! Nothing outlives a test binary. A small shell script of its own process group hears by a pipe
//! which process groups there are; when the pipe closes (the binary has ended, was killed, or
//! crashed) it ends them and removes the run's directory.
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
dir=$1; groups=" "
while read -r what group; do
  case $what in
    +) groups="$groups$group ";;
    -) groups=$(echo "$groups" | sed "s/ $group / /");;
  esac
done
alive() { for g in $groups; do kill -0 -$g 2>/dev/null && return 0; done; return 1; }
for g in $groups; do kill -CONT -$g; kill -TERM -$g; done 2>/dev/null
n=0; while alive && [ $n -lt 150 ]; do sleep 0.1; n=$((n+1)); done
for g in $groups; do kill -KILL -$g; done 2>/dev/null
for p in /proc/[0-9]*; do
  tr '\0' ' ' <$p/cmdline 2>/dev/null | grep -qF -e "--datadir=$dir/" && kill -KILL ${p#/proc/} 2>/dev/null
done
[ -n "$COREGATE_E2E_KEEP" ] || rm -rf "$dir"
"#;

/// How many lines of each log are shown when a test fails.
const LOG_LINES: usize = 25;

struct Guard {
    dir: PathBuf,
    pipe: Mutex<ChildStdin>,
    logs: Mutex<BTreeMap<String, PathBuf>>,
}

static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    // Servers may run by a user of their own, who must get in; and a socket's path must be short.
    let dir = tempfile::Builder::new()
        .prefix("cg-e2e-")
        .tempdir_in("/tmp")
        .expect("a directory")
        .keep();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    // It outlives us on purpose: it cleans up when our end of the pipe closes.
    #[allow(clippy::zombie_processes)]
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "guard"])
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("the guard");
    let pipe = Mutex::new(child.stdin.take().expect("its pipe"));
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        show_logs();
    }));
    Guard { dir, pipe, logs: Mutex::default() }
});

/// This run's own directory.
pub fn dir() -> &'static Path {
    &GUARD.dir
}

fn tell(what: char, group: u32) {
    let mut pipe = GUARD.pipe.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{what} {group}").expect("the guard lives as long as we do");
}

/// From now on the guard ends this process group.
pub fn adopt(group: u32) {
    tell('+', group);
}

/// It has ended by itself.
pub fn release(group: u32) {
    tell('-', group);
}

/// A log whose end is shown when a test fails.
pub fn watch_log(name: &str, path: &Path) {
    GUARD
        .logs
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(name.to_owned(), path.to_owned());
}

fn show_logs() {
    let Ok(logs) = GUARD.logs.try_lock() else { return };
    for (name, path) in logs.iter() {
        let text = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // Database servers say much that tells nothing.
        let lines: Vec<&str> = text.lines().filter(|l| !l.contains("[Note]")).collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        if !tail.is_empty() {
            eprintln!("--- the end of {name}'s log ({}):\n{}", path.display(), tail.join("\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Process, wait_until};
    use std::path::Path;
    use std::process::{Command, Stdio};

    /// Run by the test below, in a process of its own.
    #[test]
    #[ignore = "ends its process; the_guard_ends_what_a_crash_leaves runs it"]
    fn leaves_a_process_behind() {
        if std::env::var_os("COREGATE_E2E_CRASH").is_some() {
            let process = Process::start("left", Command::new("sleep").arg("600"));
            println!("left={} dir={}", process.id(), super::dir().display());
            std::process::abort();
        }
    }

    #[test]
    fn the_guard_ends_what_a_crash_leaves() {
        let mut crash = Command::new(std::env::current_exe().expect("this test"));
        crash.args([
            "--exact",
            "guard::tests::leaves_a_process_behind",
            "--ignored",
            "--nocapture",
        ]);
        let output = crash
            .env("COREGATE_E2E_CRASH", "1")
            .stderr(Stdio::null())
            .output()
            .expect("its end");
        let said = String::from_utf8_lossy(&output.stdout);
        let word = |key: &str| {
            said.split_whitespace()
                .find_map(|w| w.strip_prefix(key))
                .expect("what it left")
        };
        let (process, dir) = (format!("/proc/{}", word("left=")), word("dir="));
        wait_until("the process is ended", || {
            std::fs::read_to_string(format!("{process}/stat")).map_or(true, |s| s.contains(") Z "))
        });
        wait_until("its directory is removed", || !Path::new(dir).exists());
    }
}
