//! What cores notice of servers by themselves: connections that are refused, and such that break
//! under a statement.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod support;

use coregate_dataplane::Config;
use coregate_planner::control::{ControlPort, ControlRequest, Reply};
use coregate_protocol::Capabilities;
use coregate_protocol::command::encode;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use support::Wire;

#[derive(Default)]
struct Suspicions(Mutex<Vec<String>>);

impl ControlPort for Suspicions {
    fn request(&self, _: ControlRequest, reply: Reply) {
        reply(Ok(None));
    }
    fn suspect(&self, alias: &str) {
        self.0.lock().unwrap().push(alias.to_owned());
    }
}

fn select(client: &mut Wire, id: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    encode::query(
        &mut payload,
        Capabilities::empty(),
        format!("SELECT v FROM t WHERE id={id}").as_bytes(),
    );
    client.command(&payload);
    support::answer(client).pop().expect("an answer")
}

/// In front of a server. Once `breaks`, connections end when something more is sent on them, and
/// new ones at once.
fn gate(server: SocketAddr, breaks: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, breaks) = (listener.local_addr().unwrap(), Arc::clone(breaks));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(server).unwrap();
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let breaks = Arc::clone(&breaks);
                std::thread::spawn(move || relay(from, to, &breaks));
            }
        }
    });
    address
}

fn relay(mut from: TcpStream, mut to: TcpStream, breaks: &AtomicBool) {
    let mut bytes = [0; 16_384];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        if breaks.load(Ordering::Relaxed) || to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn servers_that_refuse_or_break_are_told_of_and_others_are_not() {
    let (server, _) = support::server(support::OnBegin::Answer);
    let breaks = Arc::new(AtomicBool::new(false));
    let address = gate(server, &breaks);
    let told = Arc::new(Suspicions::default());
    let (snapshot, mut serving) = support::sharded(address);
    // Nobody listens at the second shard's.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for shard in serving.shards.values_mut().filter(|s| s.shard == "80-") {
        for of_shard in &mut shard.tablets {
            let mut tablet = (*of_shard.tablet).clone();
            tablet.address = coregate_planner::snapshot::Address::Tcp(nobody);
            of_shard.tablet = Arc::new(tablet);
        }
    }
    let config = Config { cores: 1, ..Config::default() };
    let plane = support::plane_with((snapshot, serving), config, told.clone());
    let mut client = support::log_in(plane.local_addr(), Some("ks"));
    let suspects = || std::mem::take(&mut *told.0.lock().unwrap());
    suspects();
    assert_ne!(select(&mut client, 1).first(), Some(&0xFF));
    assert_eq!(suspects(), Vec::<String>::new());
    assert_eq!(select(&mut client, 4).first(), Some(&0xFF));
    assert_eq!(suspects(), ["zone1-100"]);
    // A connection that breaks under a statement.
    breaks.store(true, Ordering::Relaxed);
    assert_eq!(select(&mut client, 1).first(), Some(&0xFF));
    assert_eq!(suspects(), ["zone1-000"]);
    plane.stop();
}
