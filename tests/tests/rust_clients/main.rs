//! `mysql_async` and `sqlx`; sysbench's text and prepared loads. As in `clients.rs`, against all
//! three targets.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, MariaDb, world};
use std::sync::LazyLock;

mod mysql_async;
mod sqlx;
mod sysbench;

struct World {
    server: MariaDb,
    drop_in: Coregate,
    local: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (server, drop_in) = world::drop_in(&[]);
    World { server, drop_in, local: world::local(&[]) }
});

fn targets() -> [(&'static Coregate, &'static str); 3] {
    [(&WORLD.drop_in, "test"), (&WORLD.local, "plain"), (&WORLD.local, "ring")]
}

/// Runs an async check against each target.
fn against_all<F: Future<Output = ()>>(check: impl Fn((&'static Coregate, &'static str)) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for target in targets() {
        eprintln!("against {}", target.1);
        runtime.block_on(check(target));
    }
}
