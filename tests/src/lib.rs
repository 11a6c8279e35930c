//! End to end: starts real servers and `coregate`, and talks to them as clients do.
//!
//! What a test binary has started ends with it, however it ends: see [`guard`].
#![allow(clippy::unwrap_used, clippy::expect_used)]
pub mod alike;
pub mod coregate;
pub mod etcd;
mod fields;
pub mod guard;
pub mod infile;
pub mod mariadb;
pub mod parameters;
pub mod process;
pub mod proofs;
pub mod replicated;
pub mod tap;
pub mod wire;
pub mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use coregate::Coregate;
pub use etcd::Etcd;
pub use mariadb::MariaDb;
pub use process::Process;
pub use wire::{Answer, Connection};

/// The workspace's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace")
}

/// Where built things lie, also what tests keep between runs.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// What tests keep between runs: a template of a data directory, clients' libraries.
pub fn cache_dir() -> PathBuf {
    let dir = target_dir().join("e2e");
    std::fs::create_dir_all(&dir).expect("the cache directory");
    dir
}

/// For things that take a moment on a busy machine; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until it is so; fails after [`PATIENCE`].
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    socket.local_addr().expect("its address").port()
}
