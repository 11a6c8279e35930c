//! Starts what the clients' checks run against and stays, to try a client by hand.
#![allow(clippy::unwrap_used)]
use coregate_tests::world;

fn main() {
    let (server, drop_in) = world::drop_in(&[]);
    let local = world::local(&[]);
    println!(
        "server {}\ndropin {}\nlocal {}",
        server.port,
        drop_in.mysql.port(),
        local.mysql.port()
    );
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}
