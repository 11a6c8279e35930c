//! The database server's programs, and a data directory made once and copied for each server.
use crate::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Counted up when the template's content changes.
const TEMPLATE: u32 = 1;

#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(super) server: PathBuf,
    install: PathBuf,
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
            ["/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from),
        );
    }
    dirs.iter()
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .find(|path| path.is_file())
}

impl Binaries {
    pub(super) async fn find(given: Option<&Path>) -> Result<Self, Error> {
        let how =
            "install it (Debian, Ubuntu: apt-get install mariadb-server), or name another with --mysqld PATH";
        let server = match given {
            Some(path) if path.is_file() => path.to_owned(),
            Some(path) => {
                return Err(Error::config(format!(
                    "--mysqld {}: there is no such file; give the path of mariadbd",
                    path.display()
                )));
            }
            None => search(&["mariadbd", "mysqld"], None)
                .ok_or_else(|| Error::Server(format!("mariadbd is not found in PATH or /usr/sbin: {how}")))?,
        };
        let output = Command::new(&server)
            .arg("--version")
            .output()
            .await
            .map_err(Error::file(&server))?;
        let version = String::from_utf8_lossy(&output.stdout);
        let Some(number) = version
            .split_whitespace()
            .find(|w| w.contains("MariaDB"))
            .filter(|w| *w != "MariaDB")
        else {
            let (path, version) = (server.display(), version.trim());
            return Err(Error::config(format!(
                "--mysqld {path}: only MariaDB is supported yet, this is: {version}"
            )));
        };
        let names = ["mariadb-install-db", "mysql_install_db"];
        let install = search(&names, server.parent()).or_else(|| search(&names, None));
        let install = install.ok_or_else(|| {
            Error::Server(format!("mariadb-install-db is not found beside mariadbd: {how}"))
        })?;
        let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        Ok(Self { server, install, version: number.chars().map(fit).collect() })
    }

    /// A data directory as `mariadb-install-db` makes it; made at the first use of a version and kept in the user's cache.
    pub(super) async fn template(&self, root: &Path) -> Result<PathBuf, Error> {
        let name = format!("template-{TEMPLATE}-{}", self.version);
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
        let moved =
            made.and_then(|()| std::fs::rename(work.join("data"), &ready).map_err(Error::file(&ready)));
        let _ = std::fs::remove_dir_all(&work);
        if ready.is_dir() { Ok(ready) } else { moved.map(|()| ready) }
    }

    async fn make_template(&self, work: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(work).map_err(Error::file(work))?;
        let mut command = Command::new(&self.install);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", work.join("data").display()));
        if let Some(base) = self.server.parent().and_then(Path::parent) {
            command.arg(format!("--basedir={}", base.display()));
        }
        command.args(["--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=socket"]);
        command
            .args(INNODB)
            .arg("--innodb-flush-log-at-trx-commit=0");
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(Error::file(&self.install))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let tail: Vec<&str> = said.lines().rev().take(5).collect();
        Err(Error::Server(format!("{} has failed: {}", self.install.display(), tail.join(" | "))))
    }
}
