//! Where a local cluster's topology is kept, if not in its directory: the directory says so,
//! because another topology on the same data would start its servers in other roles, with other
//! passwords.
use crate::Error;
use std::path::Path;

const FILE: &str = "topo";

/// # Errors
/// The directory's topology is in etcd, and etcd is not asked for.
pub(super) fn check(root: &Path, etcd: bool) -> Result<(), Error> {
    let path = root.join(FILE);
    let kept = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::File { path, source }),
    };
    match etcd {
        true => Ok(()),
        false => Err(Error::config(format!(
            "--dir {}: its topology is in {}; give it with --topo, or use another --dir",
            root.display(),
            kept.trim()
        ))),
    }
}

/// From now on it is kept there; `None`: in the directory.
pub(super) fn keep(root: &Path, etcd: Option<String>) -> Result<(), Error> {
    let path = root.join(FILE);
    match etcd {
        Some(etcd) => std::fs::write(&path, etcd + "\n").map_err(Error::file(&path)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_says_where_its_topology_is() {
        let dir = tempfile::tempdir().unwrap();
        let check = |etcd| check(dir.path(), etcd).map_err(|e| e.to_string());
        assert_eq!((check(false), check(true)), (Ok(()), Ok(())));
        keep(dir.path(), None).unwrap();
        assert_eq!(check(false), Ok(()));
        keep(dir.path(), Some("etcd://h:1/dev".to_owned())).unwrap();
        assert_eq!(check(true), Ok(()));
        assert!(check(false).unwrap_err().contains("etcd://h:1/dev"));
    }
}
