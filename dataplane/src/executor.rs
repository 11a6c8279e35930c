//! The executor, hidden behind a few functions so that it can be replaced: today it is glommio, one
//! per core. Its reactor is not used: the core sleeps in its own ring (docs/decisions), so glommio
//! never parks.
use crate::error::StartError;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// Memory that glommio registers for file I/O, which cores do not do.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// When glommio interrupts its tasks to look at its own reactor: never. If that time is over before
/// the first task has run, which needs a thread that waits long for its CPU, glommio 0.9 takes this
/// for "no task wants to run" and parks. Nothing wakes the core then.
const PREEMPT_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// A running core.
pub(crate) struct CoreThread(ExecutorJoinHandle<()>);

impl CoreThread {
    /// Starts a thread named `name`, pinned to `cpu` if given, that runs the future made by `body`.
    pub(crate) fn start<F, T>(name: &str, cpu: Option<usize>, body: F) -> Result<Self, StartError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
        LocalExecutorBuilder::new(placement)
            .name(name)
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(32)
            .preempt_timer(PREEMPT_AFTER)
            .spawn(move || async move {
                let _whole = EndsTheProcess;
                body().await;
            })
            .map(Self)
            .map_err(|e| StartError::Core(e.to_string()))
    }

    /// Waits for the core's end.
    pub(crate) fn join(self) {
        if let Err(e) = self.0.join() {
            tracing::error!("a core ended badly: {e}");
        }
    }
}

/// A core that panics takes its clients, its pools and its listener with it, and nobody would
/// notice: the process ends, so that whoever runs it starts it again.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Runs a task on this core.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Lets every other runnable task of the core run once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn ends(preempt: Duration) -> bool {
        let (tell, told) = mpsc::channel();
        LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(32)
            .preempt_timer(preempt)
            .spawn(move || async move {
                for _ in 0..100_000 {
                    yield_now().await;
                }
                let _ = tell.send(());
            })
            .expect("a thread");
        told.recv_timeout(Duration::from_secs(20)).is_ok()
    }

    #[test]
    fn tasks_that_want_to_run_run() {
        assert!(ends(PREEMPT_AFTER));
    }

    #[test]
    #[ignore = "shows what PREEMPT_AFTER is for, and leaves a thread behind that sleeps for ever"]
    fn a_glommio_that_is_interrupted_before_the_first_task_parks() {
        assert!(
            !ends(Duration::from_nanos(1)),
            "glommio is mended: PREEMPT_AFTER is not needed any more"
        );
    }
}
