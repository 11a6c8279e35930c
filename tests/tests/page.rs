//! The page of the admin listener, in a real browser: what it shows, and what its buttons do with
//! the token and without.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::{Coregate, guard, root, world};
use std::path::PathBuf;
use std::process::Command;

/// Node, playwright-core and a Chromium; `None`: one of them is missing, and it says so.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let chromium = std::env::var_os("COREGATE_TEST_CHROMIUM").map(PathBuf::from);
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .map(PathBuf::from);
    let chromium = chromium.or_else(|| known.into_iter().find(|p| p.is_file()));
    let modules = std::env::var_os("COREGATE_TEST_NODE_MODULES").map(PathBuf::from);
    let node = Command::new("node")
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success());
    let modules = modules.filter(|dir| dir.join("playwright-core").is_dir());
    match (node, chromium, modules) {
        (true, Some(chromium), Some(modules)) => Some((chromium, modules)),
        _ => {
            eprintln!(
                "skipped: the page is tested with Node, Chromium (COREGATE_TEST_CHROMIUM) and \
                    playwright-core (npm install playwright-core; \
                 COREGATE_TEST_NODE_MODULES names its node_modules)"
            );
            None
        }
    }
}

fn visit(step: &str, admin: &str, token: &str) {
    let Some((chromium, modules)) = browser() else { return };
    let shots = guard::dir().join("page");
    std::fs::create_dir_all(&shots).unwrap();
    let output = Command::new("node")
        .arg(root().join("tests/page/visit.cjs"))
        .args([step, admin, token])
        .env("NODE_PATH", modules)
        .env("CHROMIUM", chromium)
        .env(
            "SHOTS",
            std::env::var_os("COREGATE_TEST_SHOTS").unwrap_or_else(|| shots.into_os_string()),
        )
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{step}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// The page itself, without a browser: it takes nothing from elsewhere, and holds no data.
#[test]
fn the_page_is_one_file() {
    let text = std::fs::read_to_string(root().join("controlplane/src/admin/page.html")).unwrap();
    for foreign in ["http://", "https://", "src=", "innerHTML", "eval("] {
        assert!(!text.contains(foreign), "{foreign}");
    }
}

#[test]
fn it_shows_what_is_there_and_changes_nothing_without_a_token() {
    if browser().is_none() {
        return;
    }
    let cluster = Cluster::sharded("page");
    let mut conn = cluster.connect("ks");
    conn.run("insert into t (id, v) values (1, '<b>bold</b>')");
    conn.run("select v from t where v = '<script>alert(1)</script>'");
    let mut pinned = cluster.connect("ks");
    pinned.run("select get_lock('held by a client', 1)");
    cluster.ctl(&["planned-reparent-shard", "ks/-80"]).unwrap();
    visit("read", &cluster.proxy.admin.to_string(), "");
}

#[test]
fn its_buttons_move_and_drain_with_the_token() {
    if browser().is_none() {
        return;
    }
    let schema = guard::dir().join("page-token-schema");
    std::fs::create_dir_all(&schema).unwrap();
    std::fs::write(
        schema.join("ks.sql"),
        "create table t (id bigint primary key, v varchar(100));",
    )
    .unwrap();
    let dir = guard::dir().join("page-token");
    let mut command = Command::new(coregate_tests::coregate::binary());
    command
        .env("COREGATE_ADMIN_TOKEN", "secret")
        .args([
            "local",
            "--dir",
            dir.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ])
        .args(["--keyspace", "ks:1:2", "--schema", schema.to_str().unwrap(), "--cores", "1"]);
    let proxy = Coregate::run("page-token", &mut command).unwrap();
    visit("act", &proxy.admin.to_string(), "secret");
    let rows = proxy
        .connect_as(world::USER, world::PASSWORD, Some("ks"))
        .run("show vitess_tablets")
        .rows();
    let primary = rows.iter().find(|row| row[3].as_deref() == Some("PRIMARY"));
    assert_ne!(primary.unwrap()[5].as_deref(), Some("zone1-100"));
}
