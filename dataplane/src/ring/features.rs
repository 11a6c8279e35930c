//! What this kernel's io_uring can do. The kernel is asked, not its version: distributions carry
//! features back.
use super::buffers::BufferGroup;
use crate::error::{StartError, explain_io_uring};
use io_uring::{IoUring, opcode, squeue, types};
use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A `major.minor` version of Linux.
pub type Kernel = (u32, u32);

/// The oldest kernel whose io_uring is enough.
pub const LEAST_KERNEL: Kernel = (5, 15);

/// Entries of the ring that is made to look.
const PROBE_ENTRIES: u32 = 8;
/// One buffer to look with: bytes, how many at first, how many at most.
const PROBE_BUFFERS: (usize, u16, u16) = (4096, 1, 1);
/// No answer in this time is a "no".
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// When the kernel's own work for a ring is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskRun {
    /// At the next system call, or by an interrupt.
    Interrupting,
    /// At the next system call (`IORING_SETUP_COOP_TASKRUN`).
    Cooperative,
    /// When the core asks for completions (`IORING_SETUP_DEFER_TASKRUN`).
    Deferred,
}

/// Which of the optional features a ring uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    pub task_run: TaskRun,
    /// Sends that succeed post no completion (`IOSQE_CQE_SKIP_SUCCESS`).
    pub silent_sends: bool,
    /// The kernel picks a receive buffer when there are bytes; else a receive is two steps,
    /// "readable?" and the receive.
    pub buffer_rings: bool,
    pub multishot_accept: bool,
    /// Implies `buffer_rings`.
    pub multishot_recv: bool,
    /// Several answers in one sleep.
    pub min_wait: bool,
}

impl Features {
    /// Nothing that is optional.
    pub const NONE: Self = Self {
        task_run: TaskRun::Interrupting,
        silent_sends: false,
        buffer_rings: false,
        multishot_accept: false,
        multishot_recv: false,
        min_wait: false,
    };

    /// Tries each feature on this kernel.
    ///
    /// # Errors
    /// [`StartError::IoUring`]: no io_uring at all, or one too old for the fallbacks.
    pub fn probe() -> Result<Self, StartError> {
        let (mut uring, task_run) = build(PROBE_ENTRIES, PROBE_ENTRIES * 2, TaskRun::Deferred)
            .map_err(|e| StartError::IoUring(explain_io_uring(&e)))?;
        let params = uring.params();
        if !params.is_feature_ext_arg() || !params.is_feature_nodrop() {
            let (major, minor) = LEAST_KERNEL;
            return Err(StartError::IoUring(format!(
                "this kernel's io_uring is too old: Linux {major}.{minor} or later is needed"
            )));
        }
        let silent_sends = params.is_feature_skip_cqe_on_success();
        let min_wait = params.is_feature_min_timeout();
        // What cannot be tried (no descriptors left, no loopback) is not used.
        let multishot_accept = accepts_repeatedly(&mut uring).unwrap_or(false);
        let group = BufferGroup::register(&uring, 0, PROBE_BUFFERS).ok();
        let buffer_rings = group.is_some();
        let multishot_recv = group
            .as_ref()
            .is_some_and(|group| receives_repeatedly(&mut uring, group.id).unwrap_or(false));
        // The ring goes before the buffers that it may still write to.
        drop(uring);
        drop(group);
        Ok(Self {
            task_run,
            silent_sends,
            buffer_rings,
            multishot_accept,
            multishot_recv,
            min_wait,
        })
    }

    /// Leaves out what came after a kernel: how the fallbacks are tested on a newer one.
    pub fn as_of(self, kernel: Kernel) -> Self {
        let task_run = match kernel {
            (6, 1..) | (7.., _) => TaskRun::Deferred,
            (5, 19..) | (6, _) => TaskRun::Cooperative,
            _ => TaskRun::Interrupting,
        };
        Self {
            task_run: self.task_run.min(task_run),
            silent_sends: self.silent_sends && kernel >= (5, 17),
            buffer_rings: self.buffer_rings && kernel >= (5, 19),
            multishot_accept: self.multishot_accept && kernel >= (5, 19),
            multishot_recv: self.multishot_recv && kernel >= (6, 0),
            min_wait: self.min_wait && kernel >= (6, 12),
        }
    }
}

/// For the log and `coregate tune check`: what is used, and what the kernel lacks.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.task_run == TaskRun::Deferred, "deferred task work"),
            (self.silent_sends, "sends without completions"),
            (self.buffer_rings, "buffer rings"),
            (self.multishot_accept, "multishot accepts"),
            (self.multishot_recv, "multishot receives"),
            (self.min_wait, "several answers in one sleep"),
        ];
        let named = |used: bool| {
            let names: Vec<_> = all
                .iter()
                .filter(|(have, _)| *have == used)
                .map(|(_, name)| *name)
                .collect();
            names.join(", ")
        };
        match (named(true), named(false)) {
            (used, missing) if missing.is_empty() => write!(f, "io_uring with {used}"),
            (used, missing) if used.is_empty() => write!(f, "io_uring without {missing}"),
            (used, missing) => write!(f, "io_uring with {used}; without {missing}"),
        }
    }
}

/// Makes a ring with the best mode that the kernel takes, `wish` or less.
pub(super) fn build(
    entries: u32,
    completions: u32,
    wish: TaskRun,
) -> io::Result<(IoUring, TaskRun)> {
    let modes = [TaskRun::Deferred, TaskRun::Cooperative, TaskRun::Interrupting];
    let mut refusal = io::Error::from_raw_os_error(libc::EINVAL);
    for mode in modes.into_iter().filter(|mode| *mode <= wish) {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions).setup_clamp();
        match mode {
            TaskRun::Deferred => builder
                .setup_submit_all()
                .setup_single_issuer()
                .setup_defer_taskrun(),
            TaskRun::Cooperative => builder.setup_submit_all().setup_coop_taskrun(),
            TaskRun::Interrupting => &mut builder,
        };
        match builder.build(entries) {
            Ok(uring) => return Ok((uring, mode)),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => refusal = e,
            Err(e) => return Err(e),
        }
    }
    Err(refusal)
}

/// Does an accept stay armed after its first connection?
fn accepts_repeatedly(uring: &mut IoUring) -> io::Result<bool> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
        .flags(libc::SOCK_CLOEXEC)
        .build();
    let (result, more) = first_completion(uring, &entry)?;
    if result >= 0 {
        // SAFETY: the kernel has just made this descriptor for us alone.
        unsafe { libc::close(result) };
    }
    Ok(result >= 0 && more)
}

/// Does a receive stay armed after its first bytes?
fn receives_repeatedly(uring: &mut IoUring, group: u16) -> io::Result<bool> {
    let (ours, theirs) = UnixStream::pair()?;
    io::Write::write_all(&mut &theirs, b"?")?;
    let entry = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), group).build();
    let (result, more) = first_completion(uring, &entry)?;
    Ok(result == 1 && more)
}

fn first_completion(uring: &mut IoUring, entry: &squeue::Entry) -> io::Result<(i32, bool)> {
    // A late completion of an earlier question must not answer this one.
    uring.completion().for_each(drop);
    // SAFETY: the entries of this module point to no memory but registered buffers, which outlive
    // the ring.
    unsafe { uring.submission().push(entry) }.map_err(io::Error::other)?;
    let time = types::Timespec::from(PROBE_TIMEOUT);
    uring
        .submitter()
        .submit_with_args(1, &types::SubmitArgs::new().timespec(&time))?;
    let done = uring.completion().next().ok_or(io::ErrorKind::TimedOut)?;
    Ok((done.result(), io_uring::cqueue::more(done.flags())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Features = Features {
        task_run: TaskRun::Deferred,
        silent_sends: true,
        buffer_rings: true,
        multishot_accept: true,
        multishot_recv: true,
        min_wait: true,
    };

    #[test]
    fn older_kernels_have_less() {
        let all = ALL;
        assert_eq!(all.as_of((7, 0)), all);
        assert_eq!(all.as_of((6, 12)), all);
        assert_eq!(all.as_of((6, 1)), Features { min_wait: false, ..all });
        let of_6_0 = Features { task_run: TaskRun::Cooperative, min_wait: false, ..all };
        assert_eq!(all.as_of((6, 0)), of_6_0);
        assert_eq!(all.as_of((5, 19)), Features { multishot_recv: false, ..of_6_0 });
        assert_eq!(all.as_of((5, 17)), Features { silent_sends: true, ..Features::NONE });
        assert_eq!(all.as_of(LEAST_KERNEL), Features::NONE);
        assert_eq!(Features::NONE.as_of((6, 12)), Features::NONE);
    }

    #[test]
    fn the_probe_finds_what_the_version_promises() {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
        let mut numbers = release.split('.').map(|n| n.parse().unwrap_or(0));
        let kernel = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let found = Features::probe().expect("io_uring");
        assert_eq!(found.as_of(kernel), ALL.as_of(kernel), "found: {found}");
    }

    #[test]
    fn modes_are_tried_downwards() {
        let (_, mode) = build(8, 16, TaskRun::Cooperative).expect("a ring");
        assert!(mode <= TaskRun::Cooperative);
        let (_, mode) = build(8, 16, TaskRun::Interrupting).expect("a ring");
        assert_eq!(mode, TaskRun::Interrupting);
    }
}
