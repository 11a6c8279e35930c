//! The database server's programs, and a data directory made once and copied for each server.
use super::flavor::Flavor;
use crate::Error;
use crate::servers::dialect::Dialect;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Counted up when the template's content changes.
const TEMPLATE: u32 = 1;

#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(super) flavor: Flavor,
    pub(super) server: PathBuf,
    /// MariaDB's; MySQL's server makes its data itself.
    install: Option<PathBuf>,
    /// Galera's library.
    pub(super) provider: Option<PathBuf>,
    /// What `--version` says, fit for a file's name.
    version: String,
}

/// Options that a data directory and the servers on it must share.
pub(super) const INNODB: [&str; 3] =
    ["--innodb-log-file-size=16M", "--innodb-undo-tablespaces=0", "--innodb-doublewrite=0"];

fn search(names: &[&str], beside: Option<&Path>) -> Option<PathBuf> {
    let mut dirs: Vec<PathBuf> = beside.into_iter().map(Path::to_owned).collect();
    dirs.extend(
        beside
            .and_then(Path::parent)
            .into_iter()
            .flat_map(|p| [p.join("bin"), p.join("scripts")]),
    );
    if beside.is_none() {
        dirs.extend(
            std::env::var_os("PATH")
                .iter()
                .flat_map(std::env::split_paths),
        );
        dirs.extend(
            ["/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin"]
                .map(PathBuf::from),
        );
    }
    dirs.iter()
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .find(|path| path.is_file())
}

fn wanted(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MariaDb | Flavor::Galera => "MariaDB's server",
        Flavor::MySql => "MySQL's server from 8.0.23",
    }
}

/// The version in what `--version` says, if the server is of this kind.
fn version(said: &str, flavor: Flavor) -> Option<String> {
    let mariadb = said
        .split_whitespace()
        .find(|w| w.contains("MariaDB") && *w != "MariaDB");
    if flavor != Flavor::MySql || said.contains("MariaDB") {
        return mariadb
            .filter(|_| flavor != Flavor::MySql)
            .map(str::to_owned);
    }
    let mut words = said.split_whitespace().skip_while(|w| *w != "Ver").skip(1);
    words
        .next()
        .filter(|v| Dialect::MySql.knows(v))
        .map(str::to_owned)
}

/// Galera's library, and what its nodes copy their data with.
fn provider() -> Result<PathBuf, Error> {
    let dirs = [
        "/usr/lib/galera",
        "/usr/lib64/galera-4",
        "/usr/lib/galera-4",
        "/usr/lib64/galera",
        "/usr/lib",
    ];
    let found = dirs
        .into_iter()
        .map(|dir| Path::new(dir).join("libgalera_smm.so"))
        .find(|path| path.is_file());
    let missing = |what: &str| {
        Error::Server(format!(
            "{what} is not found: install it (Debian, Ubuntu: apt-get install galera-4 rsync)"
        ))
    };
    if search(&["rsync"], None).is_none() {
        return Err(missing("rsync, with which nodes of Galera copy their data,"));
    }
    found.ok_or_else(|| missing("libgalera_smm.so"))
}

impl Binaries {
    pub(super) async fn find(given: Option<&Path>, flavor: Flavor) -> Result<Self, Error> {
        let (name, how) = match flavor {
            Flavor::MariaDb | Flavor::Galera => (
                "mariadbd",
                "install it (Debian, Ubuntu: apt-get install mariadb-server), or name another with \
                    --mysqld PATH",
            ),
            Flavor::MySql => (
                "mysqld",
                "install MySQL 8 or 9 (mysql-server-core), or name its server with --mysqld PATH",
            ),
        };
        let server = match given {
            Some(path) if path.is_file() => path.to_owned(),
            Some(path) => {
                return Err(Error::config(format!(
                    "--mysqld {}: there is no such file; give the path of {name}",
                    path.display()
                )));
            }
            None => search(
                if flavor == Flavor::MySql { &["mysqld"] } else { &["mariadbd", "mysqld"] },
                None,
            )
            .ok_or_else(|| {
                Error::Server(format!("{name} is not found in PATH or /usr/sbin: {how}"))
            })?,
        };
        let output = Command::new(&server)
            .arg("--version")
            .output()
            .await
            .map_err(Error::file(&server))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let Some(number) = version(&said, flavor) else {
            let (path, said) = (server.display(), said.trim());
            return Err(Error::config(format!("{path} is not {}: {said}; {how}", wanted(flavor))));
        };
        let install = match flavor {
            Flavor::MySql => None,
            Flavor::MariaDb | Flavor::Galera => {
                let names = ["mariadb-install-db", "mysql_install_db"];
                let found = search(&names, server.parent()).or_else(|| search(&names, None));
                Some(found.ok_or_else(|| {
                    Error::Server(format!("mariadb-install-db is not found beside mariadbd: {how}"))
                })?)
            }
        };
        let fit =
            |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        let provider = if flavor == Flavor::Galera { Some(provider()?) } else { None };
        Ok(Self { flavor, server, install, provider, version: number.chars().map(fit).collect() })
    }

    /// The command that fills a new data directory.
    fn fill(&self, data: &Path) -> Command {
        let datadir = format!("--datadir={}", data.display());
        let Some(install) = &self.install else {
            let mut command = Command::new(&self.server);
            command.args([
                "--no-defaults",
                "--initialize-insecure",
                "--innodb-redo-log-capacity=32M",
            ]);
            command.arg(datadir);
            return command;
        };
        let mut command = Command::new(install);
        command.arg("--no-defaults").arg(datadir);
        if let Some(base) = self.server.parent().and_then(Path::parent) {
            command.arg(format!("--basedir={}", base.display()));
        }
        command.args([
            "--skip-test-db",
            "--skip-name-resolve",
            "--auth-root-authentication-method=socket",
        ]);
        command
            .args(INNODB)
            .arg("--innodb-flush-log-at-trx-commit=0");
        command
    }

    /// A data directory as the server's own tools make it; made at the first use of a version and
    /// kept in the user's cache.
    pub(super) async fn template(&self, root: &Path) -> Result<PathBuf, Error> {
        let of = if self.flavor == Flavor::MySql { "mysql-" } else { "" };
        let name = format!("template-{TEMPLATE}-{of}{}", self.version);
        let env = |key| {
            std::env::var_os(key)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        let cache = env("XDG_CACHE_HOME").or_else(|| env("HOME").map(|home| home.join(".cache")));
        let cache = cache
            .map(|c| c.join("coregate"))
            .filter(|c| std::fs::create_dir_all(c).is_ok());
        if let Some(cache) = cache {
            match self.template_in(&cache, &name).await {
                Ok(template) => return Ok(template),
                Err(e) => tracing::warn!("no template in the cache: {e}"),
            }
        }
        self.template_in(root, &name).await
    }

    async fn template_in(&self, parent: &Path, name: &str) -> Result<PathBuf, Error> {
        let ready = parent.join(name);
        if ready.is_dir() {
            return Ok(ready);
        }
        // Made under another name first, so that a cut-off or a second process does no harm.
        let work = parent.join(format!("{name}.{}", std::process::id()));
        let made = self.make_template(&work).await;
        let moved = made
            .and_then(|()| std::fs::rename(work.join("data"), &ready).map_err(Error::file(&ready)));
        let _ = std::fs::remove_dir_all(&work);
        if ready.is_dir() { Ok(ready) } else { moved.map(|()| ready) }
    }

    async fn make_template(&self, work: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(work).map_err(Error::file(work))?;
        let mut command = self.fill(&work.join("data"));
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        let program = self.install.as_ref().unwrap_or(&self.server);
        let output = command.output().await.map_err(Error::file(program))?;
        if output.status.success() {
            // The server's uuid: each copy is a server of its own.
            let _ = std::fs::remove_file(work.join("data/auto.cnf"));
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let tail: Vec<&str> = said.lines().rev().take(5).collect();
        Err(Error::Server(format!("{} has failed: {}", program.display(), tail.join(" | "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_what_they_are() {
        let mariadb = "/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-deb12u1 for debian-linux-gnu on \
            x86_64 (Debian 12)";
        let mysql = "/opt/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))";
        let old = "/opt/mysqld  Ver 5.6.24 for Linux on x86_64 (MySQL Community Server (GPL))";
        assert_eq!(version(mariadb, Flavor::MariaDb).as_deref(), Some("10.11.19-MariaDB-deb12u1"));
        assert_eq!(version(mysql, Flavor::MySql).as_deref(), Some("9.7.4-2"));
        for (said, flavor) in [
            (mariadb, Flavor::MySql),
            (mysql, Flavor::MariaDb),
            (old, Flavor::MySql),
            ("", Flavor::MySql),
        ] {
            assert_eq!(version(said, flavor), None, "{said}");
        }
    }
}
