//! A warm point select costs no allocation: not for its fingerprint, not for its shard.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::plan::Action;
use coregate_planner::resolve::{Binding, Resolved, Scratch, resolve};
use coregate_planner::route::SessionContext;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::*;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_warm_point_select_does_not_allocate() {
    let snapshot = snapshot();
    let session = SessionContext::default();
    let sql = "SELECT name FROM customer WHERE id = 5 AND email = 'it''s'";
    let (plan, mut fingerprint) = plan_sql(&snapshot, &session, sql).unwrap();
    let Action::Route(route) = &plan.action else { panic!("not a route") };
    let (mut scratch, mut out) = (Scratch::default(), Resolved::default());
    let mut count = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        fingerprint.read(sql.as_bytes(), session.sql_mode).unwrap();
        let binding = Binding {
            sql: sql.as_bytes(),
            fingerprint: &fingerprint,
            params: &[],
            sql_mode: session.sql_mode,
            charsets: Default::default(),
            session: &Session,
            prepared: false,
        };
        resolve(route, &snapshot, &binding, &mut scratch, &mut out).unwrap();
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    count();
    assert_eq!(count(), 0);
}
