//! Hot restart: a new process takes the listening sockets over from the one that runs, through a
//! Unix-domain socket (`server.handover`). No connection is refused or lost: both hold the same
//! sockets while the new one starts, and what waits in them to be accepted is accepted by the one
//! or the other. Clients of the old process that rest go to the new one (`migration`); the others
//! stay there until they rest, or leave.
//!
//! The old one sends a line of JSON and the descriptors; the new one answers `READY` once it
//! serves, or `MOVES` if it takes sessions, too. If it never does, nothing has happened.
use crate::Failure;
use crate::config::File;
use crate::migration;
use coregate_controlplane::{AdminDoor, Source};
use coregate_dataplane::DataPlane;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Descriptors in one message: the system's limit is 253.
const DOORS_MAX: usize = 250;
/// Of the greeting's line, in bytes.
const LINE_MAX: usize = 4096;
/// A new process must be ready after this time, else it is let go.
const START_PATIENCE: Duration = Duration::from_secs(600);
/// The old process answers within this time.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How often the old process looks whether its clients are gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Of the protocol between the two.
const VERSION: u32 = 1;

const READY: &str = "READY\n";
/// As long as [`READY`].
const MOVES: &str = "MOVES\n";
const DONE: &str = "DONE\n";

#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    version: u32,
    /// How many descriptors are clients' doors; one more is the admin API's.
    doors: usize,
    /// Sessions may follow. A process of an older version does not say so.
    #[serde(default)]
    sessions: bool,
}

/// What the process before has given.
struct Inherited {
    doors: Vec<OwnedFd>,
    admin: Option<OwnedFd>,
    sessions: bool,
    stream: UnixStream,
}

/// Asks the process that runs for its sockets. `None`: none runs.
fn ask(path: &Path) -> Result<Option<Inherited>, Failure> {
    let failed =
        |why: String| Failure::Failed(format!("server.handover = {}: {why}", path.display()));
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(e)
            if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(failed(e.to_string())),
    };
    let (line, mut fds) = receive(&stream).map_err(|e| failed(e.to_string()))?;
    let greeting: Greeting = serde_json::from_slice(&line)
        .map_err(|e| failed(format!("the other process's greeting: {e}")))?;
    if greeting.version != VERSION || fds.len() != greeting.doors + 1 {
        return Err(failed(
            "the process that runs is of a version that cannot hand over to this one".to_owned(),
        ));
    }
    let admin = fds.pop();
    tracing::info!(doors = greeting.doors, "taking over from the process that runs");
    Ok(Some(Inherited { doors: fds, admin, sessions: greeting.sessions, stream }))
}

fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    let mut line = vec![0; LINE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DOORS_MAX + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = retry_on_intr(|| {
        recvmsg(stream, &mut [IoSliceMut::new(&mut line)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    line.truncate(got.bytes);
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((line, fds))
}

fn send(stream: &UnixStream, line: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DOORS_MAX + 1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("there are too many listening sockets"));
    }
    let sent = retry_on_intr(|| {
        sendmsg(stream, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)
    })?;
    match sent == line.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

impl Inherited {
    /// The admin API's socket, if it is at this address.
    fn admin_at(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let listener = TcpListener::from(self.admin.take()?);
        let own = listener.local_addr().ok()?;
        let same = own.ip() == wanted.ip() && (own.port() == wanted.port() || wanted.port() == 0);
        same.then_some(listener)
    }

    /// Tells the process before that it may go, and takes its sessions.
    fn done(mut self, data: &DataPlane) {
        let ready = if self.sessions { MOVES } else { READY };
        let answered = self
            .stream
            .write_all(ready.as_bytes())
            .and_then(|()| self.stream.set_read_timeout(Some(ANSWER_PATIENCE)))
            .and_then(|()| {
                let mut answer = [0; DONE.len()];
                self.stream.read_exact(&mut answer)
            });
        match answered {
            Ok(()) if self.sessions => migration::receive_all(data.clone(), self.stream),
            Ok(()) => {}
            Err(e) => {
                tracing::warn!("the process before does not say that it accepts no more: {e}")
            }
        }
    }
}

/// A process that begins: what it takes over, if another runs.
#[derive(Default)]
pub(crate) struct Heir {
    inherited: Option<Inherited>,
    pub(crate) admin: Option<AdminDoor>,
}

impl Heir {
    /// Two processes must not write to one directory, and both run for a while.
    pub(crate) fn check(file: &File, source: &Source) -> Result<(), Failure> {
        match (&file.server.handover, source) {
            (Some(_), Source::Topology(_)) => Err(Failure::Usage(
                "server.handover needs topology.store = \"etcd\", or --upstream: two processes \
                    cannot use the same topology.dir"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Asks the process that runs, where `server.handover` is set.
    pub(crate) fn find(file: &File) -> Result<Self, Failure> {
        let Some(path) = &file.server.handover else { return Ok(Self::default()) };
        let mut inherited = ask(path)?;
        let admin = file.server.admin;
        let door = match inherited.as_mut().and_then(|from| from.admin_at(admin)) {
            Some(door) => door,
            None => TcpListener::bind(admin).map_err(|e| {
                let message = format!("the admin address {admin} cannot be listened on: {e}");
                match e.kind() {
                    io::ErrorKind::AddrNotAvailable => Failure::Usage(message),
                    _ => Failure::Failed(message),
                }
            })?,
        };
        Ok(Self { inherited, admin: Some(AdminDoor::new(door)) })
    }

    /// Listening sockets for the data plane.
    pub(crate) fn doors(&mut self) -> Vec<Arc<OwnedFd>> {
        let doors = self
            .inherited
            .as_mut()
            .map(|from| std::mem::take(&mut from.doors));
        doors
            .unwrap_or_default()
            .into_iter()
            .map(Arc::new)
            .collect()
    }

    /// This process serves: the one before may go, and the next may ask.
    pub(crate) fn take_over(self, file: &File, data: DataPlane) -> Result<(), Failure> {
        if let Some(inherited) = self.inherited {
            inherited.done(&data);
        }
        let (Some(path), Some(admin)) = (file.server.handover.clone(), self.admin) else {
            return Ok(());
        };
        let patience = Duration::from_millis(file.server.handover_timeout_ms);
        Offer { path, data, admin, patience }.start()
    }
}

/// A process that can be taken over from.
struct Offer {
    path: PathBuf,
    data: DataPlane,
    admin: AdminDoor,
    /// Clients may stay so long after a new process has taken over.
    patience: Duration,
}

impl Offer {
    /// Waits for a process that takes over, in a thread of its own.
    fn start(self) -> Result<(), Failure> {
        let failed = |e: io::Error| {
            Failure::Failed(format!("server.handover = {}: {e}", self.path.display()))
        };
        let listener = bind(&self.path).map_err(failed)?;
        let thread = std::thread::Builder::new().name("handover".to_owned());
        thread
            .spawn(move || self.wait(&listener))
            .map_err(|e| Failure::Failed(format!("a thread for server.handover: {e}")))?;
        Ok(())
    }

    fn wait(self, listener: &UnixListener) {
        for stream in listener.incoming() {
            match stream.and_then(|stream| self.serve(stream)) {
                Ok(heir) => return self.leave(heir.as_ref()),
                Err(e) => tracing::warn!("no process has taken over: {e}"),
            }
        }
    }

    /// Gives the sockets away; until the other is ready, this process goes on as before. `Some`:
    /// the other takes sessions, too.
    fn serve(&self, stream: UnixStream) -> io::Result<Option<UnixStream>> {
        let doors = self.data.doors()?;
        let greeting = serde_json::to_string(&Greeting {
            version: VERSION,
            doors: doors.len(),
            sessions: true,
        })?;
        if doors.len() > DOORS_MAX {
            return Err(io::Error::other("there are too many listening sockets"));
        }
        let closed = || io::Error::other("its admin API listens no more");
        let admin = self.admin.listener().ok_or_else(closed)?;
        let fds: Vec<BorrowedFd<'_>> = doors
            .iter()
            .map(AsFd::as_fd)
            .chain([admin.as_fd()])
            .collect();
        send(&stream, greeting.as_bytes(), &fds)?;
        drop(admin);
        stream.set_read_timeout(Some(START_PATIENCE))?;
        let mut said = String::new();
        BufReader::new((&stream).take(READY.len() as u64)).read_line(&mut said)?;
        if said != READY && said != MOVES {
            return Err(io::Error::other("it ended before it was ready"));
        }
        self.data.hand_over();
        self.admin.close();
        // The other one has our sockets; that it hears of this is a courtesy.
        let _ = (&stream).write_all(DONE.as_bytes());
        Ok((said == MOVES).then_some(stream))
    }

    /// Ends as by SIGTERM once no client is left, or when they have had time enough.
    fn leave(self, heir: Option<&UnixStream>) {
        let clients = self.data.clients();
        tracing::info!(
            clients,
            "another process has taken over; this one ends when its clients have left"
        );
        let end = Instant::now() + self.patience;
        if let Some(heir) = heir {
            migration::send_all(&self.data, heir, end);
        }
        while (self.data.is_listening() || self.data.clients() > 0) && Instant::now() < end {
            std::thread::sleep(LOOK_EVERY);
        }
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    }
}

/// The new file takes the place of the old one at once, and nobody else may connect.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    if let Err(e) = fs::remove_file(&beside)
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(e);
    }
    let listener = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    fs::rename(&beside, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_go_through_and_a_greeting_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handover");
        assert!(ask(&path).unwrap().is_none());
        let listener = bind(&path).unwrap();
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = door.local_addr().unwrap();
        let old = std::thread::spawn(move || {
            for version in [VERSION, VERSION + 1] {
                let (stream, _) = listener.accept().unwrap();
                let line = serde_json::to_string(&Greeting { version, doors: 1, sessions: false })
                    .unwrap();
                send(&stream, line.as_bytes(), &[door.as_fd(), door.as_fd()]).unwrap();
            }
        });
        let inherited = ask(&path).unwrap().unwrap();
        let same = TcpListener::from(inherited.doors.into_iter().next().unwrap());
        assert_eq!(same.local_addr().unwrap(), address);
        assert!(inherited.admin.is_some());
        assert!(
            ask(&path)
                .map(|_| ())
                .unwrap_err()
                .to_string()
                .contains("cannot hand over")
        );
        old.join().unwrap();
        // A file that nobody listens on any more is no process.
        assert!(ask(&path).unwrap().is_none());
    }
}
