//! Hot restart, the second part: sessions that rest go to the new process, a few at a time.
//!
//! The old process sends a head (how many, how many bytes), with the descriptors, and what the
//! sessions are, as JSON. The new one answers a byte for each: will it have it? The old one lets go
//! of those, then says `GO`, and only then the new one reads from them: no connection ever has two
//! readers. Where either process dies between, the connection is closed.
use coregate_dataplane::{DataPlane, Landing, MovedSession};
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Sessions in one message.
const BATCH_MAX: usize = 64;
/// What they are, in bytes.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// The other process answers within this time.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long sessions that were asked are waited for, and how often the others are asked again.
const ASK_EVERY: Duration = Duration::from_millis(1_000);
/// A batch is sent when so long nobody has come.
const GATHER: Duration = Duration::from_millis(20);

const HEAD_LEN: usize = 8;
const GO: &[u8; 2] = b"GO";

/// Sends sessions until none is left, or the time is over; the other process then has all that
/// could go.
pub(crate) fn send_all(data: &DataPlane, stream: &UnixStream, end: Instant) {
    let leaving = data.let_sessions_go();
    let (mut asked, mut moved) = (None::<Instant>, 0);
    while (data.is_listening() || data.clients() > 0) && Instant::now() < end {
        if asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            leaving.ask();
            asked = Some(Instant::now());
        }
        let offers = leaving.take(BATCH_MAX, GATHER);
        if offers.is_empty() {
            std::thread::sleep(GATHER);
            continue;
        }
        match exchange(stream, offers) {
            Ok(count) => moved += count,
            Err(e) => {
                tracing::warn!(moved, "resting sessions go to the new process no more: {e}");
                return;
            }
        }
    }
    tracing::info!(moved, "sessions have gone to the new process");
}

fn exchange(stream: &UnixStream, offers: Vec<coregate_dataplane::Offer>) -> io::Result<usize> {
    let sessions: Vec<&MovedSession> = offers.iter().map(|offer| offer.session()).collect();
    let body = serde_json::to_vec(&sessions)?;
    let fds: Vec<BorrowedFd<'_>> = offers.iter().map(|offer| offer.connection()).collect();
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    send_head(stream, body.len(), &fds)?;
    (&mut &*stream).write_all(&body)?;
    let mut verdicts = vec![0; offers.len()];
    (&mut &*stream).read_exact(&mut verdicts)?;
    let mut moved = 0;
    for (offer, verdict) in offers.into_iter().zip(verdicts) {
        if verdict == 1 {
            offer.is_gone();
            moved += 1;
        }
    }
    (&mut &*stream).write_all(GO)?;
    Ok(moved)
}

fn send_head(stream: &UnixStream, bytes: usize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let number = |n: usize| u32::try_from(n).map_err(|_| io::ErrorKind::InvalidInput);
    let [count, len] = [number(fds.len())?, number(bytes)?].map(u32::to_le_bytes);
    let head = [count, len].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many sessions at once"));
    }
    let sent = retry_on_intr(|| {
        sendmsg(stream, &[IoSlice::new(&head)], &mut control, SendFlags::NOSIGNAL)
    })?;
    match sent == head.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Takes sessions in until the process before has none left, in a thread of its own.
pub(crate) fn receive_all(data: DataPlane, stream: UnixStream) {
    let thread = std::thread::Builder::new().name("sessions".to_owned());
    let taking = thread.spawn(move || {
        let mut moved = 0;
        loop {
            match receive(&data, &stream) {
                Ok(Some(count)) => moved += count,
                Ok(None) => break,
                Err(e) => {
                    tracing::warn!("sessions of the process before come no more: {e}");
                    break;
                }
            }
        }
        tracing::info!(moved, "sessions of the process before are here");
    });
    if let Err(e) = taking {
        tracing::warn!("no thread for the sessions of the process before: {e}");
    }
}

/// One message. `None`: there are no more.
fn receive(data: &DataPlane, stream: &UnixStream) -> io::Result<Option<usize>> {
    stream.set_read_timeout(None)?;
    let Some((bytes, fds)) = receive_head(stream)? else { return Ok(None) };
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    let mut body = vec![0; bytes];
    (&mut &*stream).read_exact(&mut body)?;
    let sessions: Vec<MovedSession> = serde_json::from_slice(&body)?;
    if sessions.len() != fds.len() {
        return Err(io::Error::other("connections are missing"));
    }
    let landings: Vec<Option<Landing>> = sessions
        .into_iter()
        .zip(fds)
        .map(|(session, connection)| data.announce(session, connection))
        .collect();
    let verdicts: Vec<u8> = landings
        .iter()
        .map(|landing| u8::from(landing.is_some()))
        .collect();
    (&mut &*stream).write_all(&verdicts)?;
    let mut go = [0; GO.len()];
    (&mut &*stream).read_exact(&mut go)?;
    if &go != GO {
        return Err(io::Error::other("the process before does not let go of its sessions"));
    }
    let mut moved = 0;
    for landing in landings.into_iter().flatten() {
        landing.comes();
        moved += 1;
    }
    Ok(Some(moved))
}

fn receive_head(stream: &UnixStream) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut head = [0; HEAD_LEN];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = retry_on_intr(|| {
        recvmsg(stream, &mut [IoSliceMut::new(&mut head)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    if got.bytes < HEAD_LEN {
        (&mut &*stream).read_exact(head.get_mut(got.bytes..).unwrap_or_default())?;
    }
    let [a, b, c, d, e, f, g, h] = head;
    let (count, bytes) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if usize::try_from(count) != Ok(fds.len()) || bytes > BATCH_BYTES_MAX {
        return Err(io::Error::other("a message of the process before makes no sense"));
    }
    Ok(Some((bytes, fds)))
}
