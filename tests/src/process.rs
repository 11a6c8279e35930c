//! A child process in a group of its own.
use crate::guard;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Process {
    pub name: String,
    /// Its standard output and its standard error.
    pub out: PathBuf,
    pub err: PathBuf,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts it; what it prints goes to files of the run's directory.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let file = |kind: &str| {
            let path = guard::dir().join(format!("{name}.{kind}"));
            let file = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .expect("a log");
            (path, file)
        };
        let ((out, out_file), (err, err_file)) = (file("out"), file("err"));
        command
            .stdin(Stdio::null())
            .stdout(out_file)
            .stderr(err_file)
            .process_group(0);
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{name} cannot be started: {e}: {command:?}"));
        guard::adopt(child.id());
        guard::watch_log(name, &err);
        Self { name: name.to_owned(), out, err, child, ended: None }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a pid")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("waiting for a child");
            if self.ended.is_some() {
                guard::release(self.child.id());
            }
        }
        self.ended
    }

    /// Waits for the end; `None` if it does not come.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while self.ended().is_none() && start.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.ended
    }

    /// Asks it to end, and says how it has ended.
    pub fn terminate(&mut self) -> ExitStatus {
        if self.ended().is_none() {
            self.signal(Signal::TERM);
        }
        self.wait(crate::PATIENCE)
            .unwrap_or_else(|| panic!("{} does not end on SIGTERM", self.name))
    }

    /// Ends it without asking.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            assert!(self.wait(crate::PATIENCE).is_some(), "{} does not end on SIGKILL", self.name);
        }
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.id());
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {path}: {e}", self.name))
    }

    /// Resident memory, in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status
            .lines()
            .find(|l| l.starts_with("VmRSS:"))
            .expect("VmRSS");
        line.split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("a number")
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("/proc")
            .count()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = kill_process_group(self.pid(), Signal::CONT);
            let _ = kill_process_group(self.pid(), Signal::TERM);
            if self.wait(Duration::from_secs(20)).is_none() {
                let _ = kill_process_group(self.pid(), Signal::KILL);
                self.wait(Duration::from_secs(5));
            }
        }
    }
}
