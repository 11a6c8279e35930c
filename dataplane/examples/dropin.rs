use coregate_dataplane::{Config, start};
use coregate_planner::control::*;
use coregate_planner::snapshot::*;
use std::sync::Arc;
struct No;
impl ControlPort for No { fn request(&self, _: ControlRequest, reply: Reply) { reply(Ok(())) } }
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let tablet = Tablet { alias: "up".into(), kind: TabletKind::Primary, address: Address::Tcp(a[2].parse().unwrap()), user: "sb".into(), password: "sb".into(), tls: BackendTls::Disabled };
    let snapshot = Snapshot { version: 1, drop_in: Some(Arc::new(tablet)), ..Default::default() };
    let mut users = Users::default();
    users.by_name.insert("sb".into(), vec![UserEntry { password: Some("sb".into()), ..Default::default() }]);
    let env = |n: &str, d: u32| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let config = Config { listen: vec![a[1].parse().unwrap()], coalesce_us: env("COALESCE", 100), multishot: env("MULTI", 1) == 1, server_version: "10.11.0-MariaDB".into(), ..Default::default() };
    let plane = start(config, Arc::new(snapshot), Arc::new(users), Arc::new(No)).unwrap();
    println!("READY {}", plane.local_addr());
    loop { std::thread::park(); }
}
