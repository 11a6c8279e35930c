//! CPU per round trip of a TCP relay: 64 bytes to a backend, 200 bytes back, over N connections.
//! The relay, its backend and its load are processes with a session each (see the crate's
//! documentation for why).
//!
//! The relays: our ring with single-shot and with multishot receives, glommio's own sockets, one
//! thread with epoll, and a thread for each connection with blocking sockets.
mod relays;

use crate::Error;
use crate::process::{Service, cpu_seconds};
use clap::{Parser, Subcommand, ValueEnum};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) const REQUEST: usize = 64;
pub(crate) const ANSWER: usize = 200;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
#[command(name = "ring_relay", about = "CPU per round trip of a TCP relay, by how it moves bytes")]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Connections, several values for several runs
    #[arg(long, value_delimiter = ',', default_values_t = [32, 1])]
    connections: Vec<usize>,
    /// Seconds of a round
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds; in each, every relay has its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Which relays
    #[arg(long, value_enum, value_delimiter = ',',
        default_values_t = Relay::value_variants().to_vec())]
    relays: Vec<Relay>,
}

/// The other processes.
#[derive(Debug, Subcommand)]
enum Part {
    /// Answers requests
    Backend,
    /// Sends requests, and says how many were answered
    Load { to: SocketAddr, connections: usize, seconds: u64 },
    /// Relays
    Relay { relay: Relay, backend: SocketAddr },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Relay {
    /// Our ring, one receive for each message, no coalescing
    RingSingle,
    /// Our ring, multishot receives, no coalescing
    RingMulti,
    /// Our ring, multishot receives, coalescing up to 100 µs
    RingCoalesce,
    /// Our ring with nothing that came after Linux 5.15
    RingOldest,
    /// glommio's TcpStream
    Glommio,
    /// One thread, epoll
    Epoll,
    /// A thread for each connection, blocking sockets
    Threads,
}

#[doc(hidden)]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.part {
        None => compare(&args),
        Some(Part::Backend) => backend(),
        Some(Part::Load { to, connections, seconds }) => load(*to, *connections, *seconds),
        Some(Part::Relay { relay, backend }) => relays::run(*relay, *backend),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("ring_relay: {e}");
            ExitCode::FAILURE
        }
    }
}

/// This program again, in a session of its own.
fn start(dir: &tempfile::TempDir, args: &[String]) -> Result<Service, Error> {
    let program = std::env::current_exe().map_err(|e| Error::failed("this program's path", e))?;
    Service::start(&program, args, &dir.path().join("log"))
}

/// A part that says where it listens.
fn start_listening(
    dir: &tempfile::TempDir,
    args: &[String],
) -> Result<(Service, SocketAddr), Error> {
    let mut service = start(dir, args)?;
    let line = service.line(&args.join(" "), "LISTENS ")?;
    let address = line.trim_start_matches("LISTENS ").parse();
    Ok((service, address.map_err(|e| Error::failed(line, e))?))
}

fn compare(args: &Args) -> Result<(), Error> {
    let dir = tempfile::tempdir().map_err(|e| Error::failed("a temporary directory", e))?;
    let (_backend, backend) = start_listening(&dir, &["backend".to_owned()])?;
    for &connections in &args.connections {
        println!(
            "\n{connections} connections, {} x {} s: CPU us of the relay per round trip, round \
                trips/s",
            args.rounds, args.seconds
        );
        let mut found: Vec<Vec<(f64, f64)>> = vec![Vec::new(); args.relays.len()];
        for _ in 0..args.rounds {
            for (relay, figures) in args.relays.iter().zip(&mut found) {
                figures.push(measure(&dir, *relay, backend, connections, args.seconds)?);
            }
        }
        let epoll = args
            .relays
            .iter()
            .position(|relay| *relay == Relay::Epoll)
            .and_then(|at| found.get(at));
        for (relay, figures) in args.relays.iter().zip(&found) {
            // To the neighbour in time: the machine is as busy for the one as for the other.
            let pairs = epoll
                .into_iter()
                .flat_map(|epoll| figures.iter().zip(epoll));
            let ratios = spread(pairs.map(|(own, epoll)| own.0 / epoll.0).collect());
            let (cpu, rate) = (
                spread(figures.iter().map(|f| f.0).collect()),
                spread(figures.iter().map(|f| f.1).collect()),
            );
            println!(
                "  {:14} {:6.2} [{:.2}-{:.2}]  x epoll {:.2} [{:.2}-{:.2}]  {:8.0}/s",
                name(*relay),
                cpu[0],
                cpu[1],
                cpu[2],
                ratios[0],
                ratios[1],
                ratios[2],
                rate[0]
            );
        }
    }
    Ok(())
}

/// Median, least, greatest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |n: usize| values.get(n).copied().unwrap_or_default();
    [at(values.len() / 2), at(0), at(values.len().saturating_sub(1))]
}

fn name(relay: Relay) -> String {
    relay
        .to_possible_value()
        .map_or_else(String::new, |v| v.get_name().to_owned())
}

/// CPU of the relay in µs per round trip, and round trips per second.
fn measure(
    dir: &tempfile::TempDir,
    relay: Relay,
    backend: SocketAddr,
    connections: usize,
    seconds: u64,
) -> Result<(f64, f64), Error> {
    let (service, address) =
        start_listening(dir, &["relay".to_owned(), name(relay), backend.to_string()])?;
    let load =
        ["load".to_owned(), address.to_string(), connections.to_string(), seconds.to_string()];
    let mut load = start(dir, &load)?;
    let before = cpu_seconds(service.pid())?;
    let line = load.line("the load", "TRIPS ")?;
    let used = cpu_seconds(service.pid())? - before;
    let numbers: Vec<f64> = line
        .split_ascii_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    let [trips, time] = numbers.as_slice() else {
        return Err(Error::failed("the load says", line));
    };
    if *trips < 1.0 {
        return Err(Error::failed(name(relay), "nothing was answered"));
    }
    Ok((1e6 * used / trips, trips / time))
}

/// Prints where a listener is, for whoever started us.
pub(crate) fn say_listening(listener: &TcpListener) -> Result<(), Error> {
    let address = listener
        .local_addr()
        .map_err(|e| Error::failed("the listener", e))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "LISTENS {address}")
        .and_then(|()| out.flush())
        .map_err(|e| Error::failed("stdout", e))
}

pub(crate) fn listen() -> Result<TcpListener, Error> {
    TcpListener::bind("127.0.0.1:0").map_err(|e| Error::failed("listening", e))
}

/// A thread for each connection, as MariaDB has them.
fn backend() -> Result<(), Error> {
    let listener = listen()?;
    say_listening(&listener)?;
    for stream in listener.incoming() {
        let mut stream = stream.map_err(|e| Error::failed("accepting", e))?;
        let answer = move || -> std::io::Result<()> {
            stream.set_nodelay(true)?;
            let (mut request, answer) = ([0; REQUEST], [7; ANSWER]);
            loop {
                stream.read_exact(&mut request)?;
                stream.write_all(&answer)?;
            }
        };
        std::thread::spawn(answer);
    }
    Ok(())
}

fn load(to: SocketAddr, connections: usize, seconds: u64) -> Result<(), Error> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = connect(to).map_err(|e| Error::failed(to, e))?;
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        ready.map_err(|e| Error::failed(to, e))?;
        streams.push(stream);
    }
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let threads: Vec<_> = streams
        .into_iter()
        .map(|stream| std::thread::spawn(move || trips(stream, end)))
        .collect();
    let mut sum = 0;
    for thread in threads {
        let trips = thread
            .join()
            .map_err(|_| Error::Failed("a thread has panicked".to_owned()))?;
        sum += trips.map_err(|e| Error::failed("a round trip", e))?;
    }
    println!("TRIPS {sum} {}", start.elapsed().as_secs_f64());
    Ok(())
}

/// A relay that binds its port anew may need a moment.
fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&to, PATIENCE) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
}

fn trips(mut stream: TcpStream, end: Instant) -> std::io::Result<u64> {
    let (request, mut answer) = ([1; REQUEST], [0; ANSWER]);
    let mut count = 0;
    while Instant::now() < end {
        stream.write_all(&request)?;
        stream.read_exact(&mut answer)?;
        count += 1;
    }
    Ok(count)
}
