//! Which database servers a local cluster has. A directory keeps its kind: their data is not each
//! other's.
use crate::Error;
use std::path::Path;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flavor {
    #[default]
    MariaDb,
    MySql,
    /// MariaDB's, one cluster a shard.
    Galera,
}

const FILE: &str = "flavor";

impl Flavor {
    fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
            Self::Galera => "galera",
        }
    }

    /// What the directory holds, or will; `wanted`: what was asked for, if anything.
    pub(super) fn of(root: &Path, wanted: Option<Self>) -> Result<Self, Error> {
        let path = root.join(FILE);
        let kept = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.trim().parse().map_err(|()| {
                Error::config(format!(
                    "{}: {:?} is no kind of servers",
                    path.display(),
                    text.trim()
                ))
            })?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::File { path, source }),
        };
        // Directories of earlier versions have no such file.
        let old = root.join("topology").is_dir().then_some(Self::MariaDb);
        match (kept.or(old), wanted) {
            (Some(kept), Some(wanted)) if kept != wanted => Err(Error::config(format!(
                "--flavor {}: {} holds servers of the flavor {}; leave --flavor out, or give \
                    another --dir",
                wanted.name(),
                root.display(),
                kept.name()
            ))),
            (Some(kept), _) => Ok(kept),
            (None, wanted) => Ok(wanted.unwrap_or_default()),
        }
    }

    /// From now on the directory is of this kind.
    pub(super) fn keep(self, root: &Path) -> Result<(), Error> {
        let path = root.join(FILE);
        std::fs::write(&path, format!("{}\n", self.name())).map_err(Error::file(&path))
    }
}

impl FromStr for Flavor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::MariaDb, Self::MySql, Self::Galera]
            .into_iter()
            .find(|flavor| flavor.name() == text)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let of = |wanted| Flavor::of(dir.path(), wanted).map_err(|e| e.to_string());
        assert_eq!(of(None), Ok(Flavor::MariaDb));
        assert_eq!(of(Some(Flavor::MySql)), Ok(Flavor::MySql));
        std::fs::create_dir(dir.path().join("topology")).unwrap();
        assert!(
            of(Some(Flavor::MySql))
                .unwrap_err()
                .contains("flavor mariadb")
        );
        Flavor::MySql.keep(dir.path()).unwrap();
        assert_eq!(of(None), Ok(Flavor::MySql));
        assert!(
            of(Some(Flavor::MariaDb))
                .unwrap_err()
                .contains("flavor mysql")
        );
        std::fs::write(dir.path().join(FILE), "x").unwrap();
        assert!(of(None).unwrap_err().contains("\"x\""));
    }
}
