//! A relay in front of a server, that stops at a statement: ahead of it, or behind it with its
//! answer withheld. What is killed or cut at that moment is killed at a known step.
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::PATIENCE;

/// On which side of the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The server has not seen it.
    Before,
    /// The server has answered it, and nobody has seen the answer.
    After,
}

#[derive(Default)]
struct State {
    /// What the next statement to be held says, and on which side of it.
    wanted: Option<(String, Side)>,
    /// The tap that holds one, by its number.
    held_by: Option<usize>,
    /// Counted up when what is held is dropped.
    drops: u64,
}

/// Taps that wait for one statement together.
#[derive(Default)]
pub struct Taps {
    state: Mutex<State>,
    changed: Condvar,
}

impl Taps {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A port in front of a server's.
    pub fn before(self: &Arc<Self>, number: usize, server: SocketAddr) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let taps = Arc::clone(self);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                taps.relay(number, client, server);
            }
        });
        port
    }

    fn relay(self: &Arc<Self>, number: usize, client: TcpStream, server: TcpStream) {
        let ends = [&client, &server].map(|end| end.try_clone().expect("a descriptor"));
        let holds = Arc::new(Mutex::new(false));
        let (taps, held) = (Arc::clone(self), Arc::clone(&holds));
        let close = |a: &TcpStream, b: &TcpStream| {
            // They may be closed already.
            let _ = (a.shutdown(Shutdown::Both), b.shutdown(Shutdown::Both));
        };
        thread::spawn(move || {
            let (mut client, mut server) = (client, server);
            let _ = taps.statements(number, &mut client, &mut server, &held);
            close(&client, &server);
        });
        let taps = Arc::clone(self);
        thread::spawn(move || {
            let [mut client, mut server] = ends;
            let _ = taps.answers(number, &mut client, &mut server, &holds);
            close(&client, &server);
        });
    }

    fn statements(
        &self,
        number: usize,
        client: &mut TcpStream,
        server: &mut TcpStream,
        holds: &Mutex<bool>,
    ) -> io::Result<()> {
        loop {
            let packet = packet(client)?;
            let text = String::from_utf8_lossy(&packet).into_owned();
            let mut state = self.lock();
            match &state.wanted {
                Some((wanted, Side::Before)) if text.contains(wanted) => {
                    state.wanted = None;
                    self.hold(state, number);
                    return Ok(());
                }
                Some((wanted, Side::After)) if text.contains(wanted) => {
                    state.wanted = None;
                    *holds.lock().unwrap_or_else(PoisonError::into_inner) = true;
                }
                _ => {}
            }
            drop(state);
            server.write_all(&packet)?;
        }
    }

    fn answers(
        &self,
        number: usize,
        client: &mut TcpStream,
        server: &mut TcpStream,
        holds: &Mutex<bool>,
    ) -> io::Result<()> {
        loop {
            let packet = packet(server)?;
            if *holds.lock().unwrap_or_else(PoisonError::into_inner) {
                self.hold(self.lock(), number);
                return Ok(());
            }
            client.write_all(&packet)?;
        }
    }

    /// Waits until what is held is dropped.
    fn hold(&self, mut state: MutexGuard<'_, State>, number: usize) {
        state.held_by = Some(number);
        self.changed.notify_all();
        let drops = state.drops;
        while state.drops == drops {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next statement with this text is held.
    pub fn want(&self, text: &str, side: Side) {
        self.lock().wanted = Some((text.to_owned(), side));
    }

    /// Waits until a statement is held; the number of the tap.
    pub fn wait_held(&self) -> usize {
        let held = |state: &mut State| state.held_by.is_none();
        let (state, late) = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, held)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "no statement came: {:?}", state.wanted);
        state.held_by.expect("it is held")
    }

    /// Closes the connection of what is held, unsent.
    pub fn drop_held(&self) {
        let mut state = self.lock();
        state.drops += 1;
        (state.held_by, state.wanted) = (None, None);
        self.changed.notify_all();
    }
}

fn packet(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes)?;
    let len = usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16;
    bytes.resize(4 + len, 0);
    from.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}
