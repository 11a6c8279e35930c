//! Where a local cluster's files lie, and whose they are.
use crate::Error;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest path of a Unix socket that all systems take, in bytes.
const MAX_SOCKET: usize = 100;

/// The database server's own user, by which it runs when we are root.
const SERVER_USER: &str = "mysql";

#[derive(Debug)]
pub(super) struct Dirs {
    /// Absolute.
    pub(super) root: PathBuf,
    pub(super) tablets: PathBuf,
    /// A short link to `tablets`, where its own path is too long for sockets.
    pub(super) short: Option<PathBuf>,
    /// Owner of the data; `None` unless we are root.
    pub(super) owner: Option<Owner>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) name: &'static str,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Dirs {
    pub(super) fn make(dir: &Path) -> Result<Self, Error> {
        let make = |path: &Path| {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
                .map_err(Error::file(path))
        };
        make(dir)?;
        let root = dir.canonicalize().map_err(Error::file(dir))?;
        let tablets = root.join("tablets");
        make(&tablets)?;
        let owner = owner(&tablets);
        let short = short_link(&tablets)?;
        Ok(Self { root, tablets, short, owner })
    }

    pub(super) fn tablet(&self, alias: &str) -> PathBuf {
        self.tablets.join(alias)
    }

    pub(super) fn socket(&self, alias: &str) -> PathBuf {
        self.short
            .as_ref()
            .unwrap_or(&self.tablets)
            .join(alias)
            .join("sock")
    }
}

/// A symbolic link in the directory for temporary files, if the path is too long. A left one of
/// ours is used again.
fn short_link(tablets: &Path) -> Result<Option<PathBuf>, Error> {
    if tablets.as_os_str().len() + "/zone1-12345/sock".len() <= MAX_SOCKET {
        return Ok(None);
    }
    let hash =
        tablets
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
                (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
            });
    let link = PathBuf::from(format!("/tmp/coregate-{hash:016x}"));
    match std::os::unix::fs::symlink(tablets, &link) {
        Ok(()) => Ok(Some(link)),
        Err(_) if fs::read_link(&link).is_ok_and(|to| to == tablets) => Ok(Some(link)),
        Err(source) => Err(Error::File { path: link, source }),
    }
}

/// As root, servers run by their own user where it can reach the directory, else as root.
/// Directories above ours are not ours to open up.
fn owner(tablets: &Path) -> Option<Owner> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let root = Owner { name: "root", uid: 0, gid: 0 };
    let Some(server) = passwd_entry() else { return Some(root) };
    let reachable = |dir: &Path| {
        fs::metadata(dir).is_ok_and(|m| {
            let bit = if m.uid() == server.uid {
                0o100
            } else if m.gid() == server.gid {
                0o010
            } else {
                0o001
            };
            m.mode() & bit != 0
        })
    };
    if tablets.ancestors().all(reachable) {
        return Some(server);
    }
    tracing::warn!(
        "{} cannot be reached by user {SERVER_USER}: servers run as root",
        tablets.display()
    );
    Some(root)
}

fn passwd_entry() -> Option<Owner> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = passwd
        .lines()
        .map(|l| l.split(':').collect::<Vec<_>>())
        .find(|f| f.first() == Some(&SERVER_USER))?;
    fields.truncate(4);
    let number = |i: usize| fields.get(i)?.parse().ok();
    Some(Owner { name: SERVER_USER, uid: number(2)?, gid: number(3)? })
}

/// Gives a directory and all in it to its owner.
pub(super) fn give(path: &Path, owner: Option<Owner>) -> Result<(), Error> {
    let Some(owner) = owner else { return Ok(()) };
    std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid)).map_err(Error::file(path))?;
    if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
        for entry in fs::read_dir(path).map_err(Error::file(path))? {
            give(&entry.map_err(Error::file(path))?.path(), Some(owner))?;
        }
    }
    Ok(())
}
