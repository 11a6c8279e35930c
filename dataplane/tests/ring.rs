//! The data ring echoes what it is sent, whatever the sizes, however slow the reader and however
//! old the kernel.
use coregate_dataplane::ring::{
    Accept, Buf, Features, Kernel, LEAST_KERNEL, Ring, RingConfig, Socket,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// Bytes that may wait for a slow reader.
const UNSENT_MAX: usize = 128 << 10;

struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
    open: Arc<AtomicUsize>,
}

/// A thread with a ring that sends back what it receives, polled without an executor.
fn echo(features: Features) -> Echo {
    echo_with(RingConfig::new(50, features))
}

fn echo_with(config: RingConfig) -> Echo {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .expect("bound");
    listener.listen(128).expect("listening");
    let address = listener
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IP");
    let (stop, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&open));
    let thread = thread::spawn(move || {
        let ring = Ring::new(config).expect("a ring");
        let accept = Accept::new(&ring, listener);
        let mut sockets: Vec<Socket> = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while !stopped.load(Ordering::Relaxed) {
            ring.turn(Duration::from_millis(2));
            while let Poll::Ready(Ok(fd)) = accept.poll_next(&mut cx) {
                sockets.push(Socket::new(&ring, fd));
            }
            sockets.retain(|socket| turn(socket, &mut cx));
            counted.store(ring.sockets(), Ordering::Relaxed);
        }
    });
    Echo { address, stop, thread: Some(thread), open }
}

/// Echoes what can be echoed now; `false` when the peer has gone.
fn turn(socket: &Socket, cx: &mut Context<'_>) -> bool {
    loop {
        match socket.poll_sendable(cx, UNSENT_MAX) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return false,
            Poll::Pending => return true,
        }
        match socket.poll_recv(cx) {
            Poll::Ready(Ok(Some(buf))) => {
                socket.expect_more(&buf);
                socket.send(buf);
            }
            Poll::Ready(_) => return false,
            Poll::Pending => return true,
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the ring's thread ended well");
        }
    }
}

/// The n-th byte of stream `seed`.
fn byte(seed: usize, n: usize) -> u8 {
    (n.wrapping_mul(31).wrapping_add(seed).wrapping_mul(17) >> 3) as u8
}

/// Sends `total` bytes in pieces of changing size and reads them back, pausing now and then if
/// `slow`.
fn converse(address: SocketAddr, seed: usize, total: usize, slow: bool) {
    let mut stream = TcpStream::connect(address).expect("connected");
    let mut writer = stream.try_clone().expect("cloned");
    let sender = thread::spawn(move || {
        let mut sent = 0;
        let mut size = 1 + seed % 97;
        while sent < total {
            let piece: Vec<u8> = (sent..(sent + size).min(total))
                .map(|n| byte(seed, n))
                .collect();
            writer.write_all(&piece).expect("sent");
            sent += piece.len();
            size = (size * 7 + 13) % 150_000 + 1;
        }
    });
    let mut got = 0;
    let mut chunk = vec![0; 40_000];
    while got < total {
        if slow && got % 7 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let n = stream.read(&mut chunk).expect("received");
        assert!(n > 0, "the stream ended after {got} of {total} bytes");
        for (i, b) in chunk[..n].iter().enumerate() {
            assert_eq!(*b, byte(seed, got + i), "byte {} of stream {seed}", got + i);
        }
        got += n;
    }
    sender.join().expect("the sender ended well");
}

/// This kernel's features, less those that came after another one.
fn as_of(kernel: Kernel) -> Features {
    Features::probe().expect("io_uring").as_of(kernel)
}

fn many_at_once(features: Features) {
    let echo = echo(features);
    let clients: Vec<_> = (0..24)
        .map(|seed| {
            let address = echo.address;
            thread::spawn(move || converse(address, seed, 600_000 + seed * 1001, seed % 3 == 0))
        })
        .collect();
    for client in clients {
        client.join().expect("a client ended well");
    }
    // All closed: the ring lets go of every socket.
    for _ in 0..1000 {
        if echo.open.load(Ordering::Relaxed) == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{} sockets are still open", echo.open.load(Ordering::Relaxed));
}

#[test]
fn newest_kernel_loses_nothing() {
    many_at_once(as_of((u32::MAX, 0)));
}

#[test]
fn linux_6_1_loses_nothing() {
    many_at_once(as_of((6, 1)));
}

#[test]
fn linux_6_0_loses_nothing() {
    many_at_once(as_of((6, 0)));
}

#[test]
fn linux_5_19_loses_nothing() {
    many_at_once(as_of((5, 19)));
}

#[test]
fn linux_5_17_loses_nothing() {
    many_at_once(as_of((5, 17)));
}

#[test]
fn oldest_kernel_loses_nothing() {
    assert_eq!(as_of(LEAST_KERNEL), Features::NONE);
    many_at_once(as_of(LEAST_KERNEL));
}

/// What a distribution may carry back, and what `cores.multishot = false` makes of a new kernel.
#[test]
fn odd_combinations_lose_nothing() {
    let all = as_of((u32::MAX, 0));
    many_at_once(Features { multishot_recv: false, ..all });
    many_at_once(Features { buffer_rings: false, multishot_recv: false, ..all });
    many_at_once(Features { silent_sends: false, ..all });
    many_at_once(Features { multishot_accept: false, ..all });
}

/// Buffers are taken when there are bytes: many resting sockets own none, also where the kernel
/// does not pick them.
#[test]
fn resting_sockets_own_no_buffer() {
    for kernel in [(u32::MAX, 0), LEAST_KERNEL] {
        let ring = Ring::new(RingConfig::new(0, as_of(kernel))).expect("a ring");
        let mut cx = Context::from_waker(Waker::noop());
        let (ours, mut theirs): (Vec<_>, Vec<_>) = (0..500)
            .map(|_| std::os::unix::net::UnixStream::pair().expect("a pair"))
            .map(|(ours, theirs)| (Socket::new(&ring, ours.into()), theirs))
            .unzip();
        let before = ring.buffers_free();
        ring.turn(Duration::from_millis(1));
        assert_eq!(ring.buffers_free(), before, "armed receives hold buffers on {kernel:?}");
        theirs[7].write_all(b"x").expect("written");
        let got = loop {
            ring.turn(Duration::from_millis(1));
            if let Poll::Ready(got) = ours[7].poll_recv(&mut cx) {
                break got.expect("received").expect("a byte");
            }
        };
        assert_eq!((&*got, ring.buffers_free()), (&b"x"[..], before - 1));
        drop(got);
        assert_eq!(ring.buffers_free(), before);
    }
}

#[test]
fn a_socket_that_is_dropped_sends_its_last_bytes() {
    for kernel in [(u32::MAX, 0), (5, 19), LEAST_KERNEL] {
        drop_with_bytes_to_send(as_of(kernel));
    }
}

fn drop_with_bytes_to_send(features: Features) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let reader = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepted");
        thread::sleep(Duration::from_millis(50));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("read");
        all.len()
    });
    let stream = TcpStream::connect(address).expect("connected");
    let ring = Ring::new(RingConfig::new(0, features)).expect("a ring");
    let socket = Socket::new(&ring, stream.into());
    socket.send(Buf::from(vec![7; 3_000_000]));
    socket.send(Buf::from(vec![8; 5]));
    drop(socket);
    while ring.sockets() > 0 {
        ring.turn(Duration::from_millis(2));
    }
    assert_eq!(reader.join().expect("a reader"), 3_000_005);
}

/// A send that succeeds posts no completion: what is queued behind it must not wait until something
/// else wakes the core.
#[test]
fn what_is_queued_behind_a_send_does_not_wait_for_an_event() {
    let features = Features::probe().expect("io_uring");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut peer =
        TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let (ours, _) = listener.accept().expect("accepted");
    let ring = Ring::new(RingConfig::new(50, features)).expect("a ring");
    let socket = Socket::new(&ring, ours.into());
    // The first turn may sleep: nothing is to be done yet.
    ring.turn(Duration::from_millis(1));
    let slept = ring.stats().sleeps.get();
    for piece in [b"one", b"two", b"six"] {
        socket.send(Buf::from(piece.to_vec()));
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut turns = 0;
    while socket.poll_sendable(&mut cx, 1).is_pending() {
        ring.turn(Duration::from_secs(60));
        turns += 1;
        assert!(turns < 10, "the sends do not end");
    }
    if features.silent_sends {
        assert_eq!(ring.stats().sleeps.get(), slept, "the core slept between two sends");
    }
    let mut got = [0; 9];
    peer.read_exact(&mut got).expect("received");
    assert_eq!(&got, b"onetwosix");
}

/// Sends until the other side takes no more, and reads nothing.
fn stuff(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nonblocking(true).expect("not blocking");
    let piece = [7; 100_000];
    let mut idle = 0;
    while idle < 20 {
        match stream.write(&piece) {
            Ok(written) if written > 0 => idle = 0,
            _ => {
                idle += 1;
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    stream
}

#[test]
// They run side by side.
#[allow(clippy::needless_collect)]
fn peers_that_do_not_read_leave_the_others_their_buffers() {
    let probe = Features::probe().expect("io_uring");
    for features in [probe, probe.as_of(LEAST_KERNEL)] {
        let config = RingConfig {
            buffers_small_max: 64,
            buffers_large_max: 8,
            ..RingConfig::new(50, features)
        };
        let echo = echo_with(config);
        let stuffed: Vec<_> = (0..50)
            .map(|_| {
                thread::spawn({
                    let address = echo.address;
                    move || stuff(address)
                })
            })
            .collect();
        let stuffed: Vec<_> = stuffed
            .into_iter()
            .map(|t| t.join().expect("stuffed"))
            .collect();
        for seed in 0..5 {
            converse(echo.address, seed, 400_000, false);
        }
        // Those who begin to read get all that they have sent.
        for mut stream in stuffed {
            stream.set_nonblocking(false).expect("blocking");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("no more to send");
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).expect("an echo");
            assert_eq!(byte[0], 7);
        }
    }
}
