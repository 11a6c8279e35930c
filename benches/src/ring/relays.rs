//! The relays. Each does the same: a connection to the backend for every client, requests to the
//! one, answers to the other.
use super::{ANSWER, REQUEST, Relay, listen, say_listening};
use crate::Error;
use coregate_dataplane::ring::{Accept, Connect, Features, Ring, RingConfig, Socket};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{LocalExecutorBuilder, Placement};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use socket2::{Domain, Protocol, Type};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

pub(super) fn run(relay: Relay, backend: SocketAddr) -> Result<(), Error> {
    let listener = listen()?;
    say_listening(&listener)?;
    let found = Features::probe().map_err(|e| Error::failed("io_uring", e))?;
    let ring = |coalesce_us, multishot| {
        let features = Features { multishot_recv: multishot && found.multishot_recv, ..found };
        RingConfig::new(coalesce_us, features)
    };
    match relay {
        Relay::RingSingle => on_ring(listener, backend, ring(0, false)),
        Relay::RingMulti => on_ring(listener, backend, ring(0, true)),
        Relay::RingOldest => on_ring(listener, backend, RingConfig::new(0, Features::NONE)),
        Relay::RingCoalesce => on_ring(listener, backend, ring(100, true)),
        Relay::Glommio => on_glommio(listener, backend),
        Relay::Epoll => on_epoll(&listener, backend).map_err(|e| Error::failed("epoll", e)),
        Relay::Threads => on_threads(&listener, backend).map_err(|e| Error::failed("threads", e)),
    }
}

/// One executor, not pinned: no relay here is.
fn executor<T: Future<Output = ()>>(
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<(), Error> {
    let core = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(64 << 10)
        .spawn(move || async move { body().await })
        .map_err(|e| Error::failed("glommio", e))?;
    core.join().map_err(|e| Error::failed("glommio", e))
}

// === our ring ===

fn on_ring(listener: TcpListener, backend: SocketAddr, config: RingConfig) -> Result<(), Error> {
    executor(move || async move {
        match Ring::new(config) {
            Ok(ring) => serve_on_ring(&ring, listener, backend).await,
            Err(e) => eprintln!("ring_relay: {e}"),
        }
    })
}

async fn serve_on_ring(ring: &Ring, listener: TcpListener, backend: SocketAddr) {
    let accept = {
        let ring = ring.clone();
        async move {
            let accept = Accept::new(&ring, listener.into());
            while let Ok(fd) = poll_fn(|cx| accept.poll_next(cx)).await {
                let client = socket2::Socket::from(fd);
                // What fails here shows at the first use.
                let _ = client.set_tcp_nodelay(true);
                let client = Socket::new(&ring, client.into());
                let Ok(server) = dial(&ring, backend).await else { continue };
                glommio::spawn_local(relay_on_ring(ring.clone(), client, server)).detach();
                ring.mark_runnable();
            }
        }
    };
    glommio::spawn_local(accept).detach();
    loop {
        ring.turn(Duration::from_millis(100));
        yield_now().await;
    }
}

async fn dial(ring: &Ring, backend: SocketAddr) -> std::io::Result<Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(backend), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    let mut connect = Connect::new(ring, socket, backend.into());
    let fd = poll_fn(|cx| connect.poll(cx)).await?;
    Ok(Socket::new(ring, fd))
}

async fn relay_on_ring(ring: Ring, client: Socket, server: Socket) {
    loop {
        let Ok(Some(request)) = poll_fn(|cx| client.poll_recv(cx)).await else { return };
        server.send(request);
        ring.answer_expected();
        let answer = poll_fn(|cx| server.poll_recv(cx)).await;
        ring.answer_came();
        let Ok(Some(answer)) = answer else { return };
        client.send(answer);
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

// === glommio's sockets ===

fn on_glommio(listener: TcpListener, backend: SocketAddr) -> Result<(), Error> {
    // glommio binds by itself; ours has announced the port, and shares it.
    let address = listener
        .local_addr()
        .map_err(|e| Error::failed("the listener", e))?;
    drop(listener);
    executor(move || async move {
        let Ok(listener) = glommio::net::TcpListener::bind(address) else { return };
        while let Ok(client) = listener.accept().await {
            glommio::spawn_local(async move {
                // An error is the end of a connection.
                let _ = relay_on_glommio(client, backend).await;
            })
            .detach();
        }
    })
}

async fn relay_on_glommio(
    mut client: glommio::net::TcpStream,
    backend: SocketAddr,
) -> std::io::Result<()> {
    let mut server = glommio::net::TcpStream::connect(backend).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut buf = [0; 4096];
    loop {
        let n = client.read(&mut buf).await?;
        server.write_all(&buf[..n]).await?;
        let m = server.read(&mut buf).await?;
        client.write_all(&buf[..m]).await?;
        if n == 0 || m == 0 {
            return Ok(());
        }
    }
}

// === epoll ===

/// The listener's number; connections follow, both ends of a pair one after the other.
const LISTENER: u64 = u64::MAX;

fn on_epoll(listener: &TcpListener, backend: SocketAddr) -> std::io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut streams: Vec<Rc<TcpStream>> = Vec::new();
    let mut events = Vec::with_capacity(256);
    let mut buf = [0; 4096];
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let data = { event.data }.u64();
            if data == LISTENER {
                let (client, _) = listener.accept()?;
                for stream in [client, TcpStream::connect(backend)?] {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    let number = epoll::EventData::new_u64(streams.len() as u64);
                    epoll::add(&poll, &stream, number, epoll::EventFlags::IN)?;
                    streams.push(Rc::new(stream));
                }
                continue;
            }
            let at = data as usize;
            let (from, to) = (Rc::clone(&streams[at]), Rc::clone(&streams[at ^ 1]));
            match (&*from).read(&mut buf) {
                Ok(n) if n > 0 => (&*to).write_all(&buf[..n])?,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => {
                    // Gone; its partner follows by itself.
                    epoll::delete(&poll, &from)?;
                    let _ = to.shutdown(std::net::Shutdown::Both);
                }
            }
        }
    }
}

// === threads ===

fn on_threads(listener: &TcpListener, backend: SocketAddr) -> std::io::Result<()> {
    for client in listener.incoming() {
        let (mut client, mut server) = (client?, TcpStream::connect(backend)?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        std::thread::spawn(move || -> std::io::Result<()> {
            let (mut request, mut answer) = ([0; REQUEST], [0; ANSWER]);
            loop {
                client.read_exact(&mut request)?;
                server.write_all(&request)?;
                server.read_exact(&mut answer)?;
                client.write_all(&answer)?;
            }
        });
    }
    Ok(())
}
