//! Warm point selects allocate nothing on the core, text or prepared.
mod support;

use coregate_dataplane::Config;
use coregate_protocol::Capabilities;
use coregate_protocol::command::encode;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what threads named `core-...` allocate.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// 0: not looked at, 1: a core, 2: another thread.
    static THREAD: Cell<u8> = const { Cell::new(0) };
}

fn on_core() -> bool {
    THREAD
        .try_with(|kind| {
            if kind.get() == 0 {
                let mut name = [0u8; 16];
                // SAFETY: PR_GET_NAME writes at most 16 bytes.
                unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
                // The name is set right after the thread starts; until then it is not known for
                // good.
                if name.starts_with(b"core-") {
                    kind.set(1);
                }
            }
            kind.get() == 1
        })
        .unwrap_or(false)
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if on_core() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Allocations of the core during 500 executions, after 500 to warm up. The sweep that runs ten
/// times a second may grow a list now and then, so that a few are nobody's fault; one per query
/// would be 500.
fn measure(mut run: impl FnMut(u64)) -> u64 {
    (0..500).for_each(&mut run);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (500..1000).for_each(&mut run);
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn warm_point_selects_allocate_nothing() {
    // On this kernel, and on the fallbacks for the oldest one.
    for kernel in [None, Some(coregate_dataplane::ring::LEAST_KERNEL)] {
        point_selects(Config { kernel, ..Config::default() });
    }
}

fn point_selects(config: Config) {
    let server = support::fake_server();
    let plane = support::plane(support::sharded(server), config);
    let mut client = support::log_in(plane.local_addr(), Some("ks"));

    let text = measure(|i| {
        let mut payload = Vec::new();
        encode::query(
            &mut payload,
            Capabilities::empty(),
            format!("SELECT v FROM t WHERE id={i}").as_bytes(),
        );
        client.command(&payload);
        assert_eq!(support::answer(&mut client).len(), 4);
    });
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > 0, "the core's thread was not recognised");
    assert!(text <= 5, "500 text selects made {text} allocations");

    let mut payload = Vec::new();
    encode::stmt_prepare(&mut payload, b"SELECT v FROM t WHERE id=?");
    client.command(&payload);
    let id = client.read().expect("an answer").1[1..5]
        .try_into()
        .map(u32::from_le_bytes)
        .expect("an id");
    for _ in 0..2 {
        client.read().expect("a definition");
    }
    let prepared = measure(|i| {
        // One parameter, not NULL, types sent each time: BIGINT.
        let mut body = vec![0, 1, 8, 0];
        body.extend_from_slice(&i.to_le_bytes());
        let mut payload = Vec::new();
        encode::stmt_execute(&mut payload, id, 0, &body);
        client.command(&payload);
        assert_eq!(support::answer(&mut client).len(), 4);
    });
    assert!(prepared <= 5, "500 prepared selects made {prepared} allocations");
    plane.stop();
}
