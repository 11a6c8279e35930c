//! Clients on this machine: a Unix-domain socket with a path, or with a name in the abstract
//! namespace (`@name`).
use crate::error::StartError;
use crate::listener::patiently;
use socket2::{Domain, SockAddr, Type};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest path, in bytes: the system's own limit, less the zero at its end.
const PATH_MAX: usize = 107;

/// Where clients on this machine connect, and who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixAddress {
    /// A path, or `@` and a name.
    pub path: PathBuf,
    /// Rights of the file; a name in the abstract namespace has none.
    pub mode: u32,
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// The file of a socket, to be taken away at the end.
#[derive(Debug, Clone)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Another process may have put its own in the place.
    identity: Identity,
}

/// Device, inode, and when it was made, as inodes are used again.
type Identity = (u64, u64, i64, i64);

fn identity(meta: &fs::Metadata) -> Identity {
    (meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec())
}

impl SocketFile {
    pub(crate) fn of(address: &UnixAddress) -> Option<Self> {
        let meta = fs::symlink_metadata(&address.path).ok()?;
        Some(Self { path: address.path.clone(), identity: identity(&meta) })
    }

    pub(crate) fn remove(&self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|meta| identity(&meta) == self.identity);
        if ours && let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!("{}: {e}", self.path.display());
        }
    }
}

impl UnixAddress {
    fn abstract_name(&self) -> Option<&str> {
        self.path.to_str()?.strip_prefix('@')
    }

    fn sock_addr(&self) -> io::Result<SockAddr> {
        match self.abstract_name() {
            Some(name) => SockAddr::unix(format!("\0{name}")),
            None => SockAddr::unix(&self.path),
        }
    }

    /// # Errors
    /// A sentence: too long, or empty.
    pub fn check(&self) -> Result<(), String> {
        let len = self.path.as_os_str().len();
        if len == 0 || self.path == Path::new("@") || len > PATH_MAX {
            return Err(format!("it has {len} bytes, 1 to {PATH_MAX} are allowed"));
        }
        if self.mode > 0o777 {
            return Err(format!("its rights are {:o}, 777 is the most", self.mode));
        }
        Ok(())
    }

    /// Is it the socket that listens here?
    pub(crate) fn is_of(&self, socket: &socket2::Socket) -> bool {
        let Ok(address) = socket.local_addr() else { return false };
        match self.abstract_name() {
            Some(name) => address.as_abstract_namespace() == Some(name.as_bytes()),
            None => address.as_pathname() == Some(&self.path),
        }
    }

    /// Opens the listening socket. The file of a process that is gone is replaced, that of one that
    /// listens is not.
    pub(crate) fn listen(&self, backlog: u32) -> Result<socket2::Socket, StartError> {
        patiently(|| self.try_listen(backlog))
            .map_err(|error| StartError::Listen { address: self.to_string(), error })
    }

    fn try_listen(&self, backlog: u32) -> io::Result<socket2::Socket> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let is_file = self.abstract_name().is_none();
        if is_file {
            self.clear()?;
        }
        socket.bind(&self.sock_addr()?)?;
        if is_file {
            // Before anybody can connect, which is from `listen` on.
            fs::set_permissions(&self.path, fs::Permissions::from_mode(self.mode))?;
        }
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(socket)
    }

    /// Takes a socket's file away that nobody listens on.
    fn clear(&self) -> io::Result<()> {
        let Ok(meta) = fs::symlink_metadata(&self.path) else { return Ok(()) };
        if !meta.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file that is no socket",
            ));
        }
        // Without waiting: who listens may not accept.
        let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        probe.set_nonblocking(true)?;
        match probe.connect(&SockAddr::unix(&self.path)?) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(&self.path),
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: PathBuf) -> UnixAddress {
        UnixAddress { path, mode: 0o640 }
    }

    #[test]
    fn files_have_their_rights_and_are_replaced_when_nobody_listens() {
        let dir = std::env::temp_dir().join(format!("coregate-unix-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let address = at(dir.join("s"));
        let first = address.listen(8).expect("a socket");
        let mode = fs::metadata(&address.path)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(
            address
                .listen(8)
                .is_err_and(|e| e.to_string().contains("another process listens"))
        );
        let old = SocketFile::of(&address).expect("a file");
        drop(first);
        let second = address.listen(8).expect("in the place of one that is gone");
        // What was ours is no more.
        old.remove();
        assert!(address.path.exists());
        SocketFile::of(&address).expect("a file").remove();
        assert!(!address.path.exists());
        drop(second);
        fs::write(&address.path, "mine").expect("a file");
        assert!(
            address
                .listen(8)
                .is_err_and(|e| e.to_string().contains("is no socket"))
        );
        fs::remove_dir_all(&dir).expect("gone");
    }

    #[test]
    fn names_in_the_abstract_namespace_and_limits() {
        let name = at(format!("@coregate-test-{}", std::process::id()).into());
        let held = name.listen(8).expect("a socket");
        assert!(name.listen(8).is_err());
        drop(held);
        assert!(at(PathBuf::new()).check().is_err() && at("@".into()).check().is_err());
        assert!(
            at("x".repeat(108).into()).check().is_err()
                && at("x".repeat(107).into()).check().is_ok()
        );
        assert!(
            UnixAddress { path: "a".into(), mode: 0o1777 }
                .check()
                .is_err()
        );
    }
}
