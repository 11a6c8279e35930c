//! The processes of a comparison: a MariaDB to throw away, HAProxy, Coregate.
use crate::Error;
use crate::conn::Connection;
use crate::endpoint::Endpoint;
use crate::process::{Service, find};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long a database server may take to start.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);
const PROXY_PATIENCE: Duration = Duration::from_secs(10);

const USER: &str = "bench";

/// A port that nobody listens on.
fn free_port() -> Result<SocketAddr, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|e| Error::failed("a free port on 127.0.0.1", e))
}

/// Starts a MariaDB with its data under `dir`, for user `bench` without a password.
pub(crate) fn mariadb(dir: &Path) -> Result<(Service, Endpoint), Error> {
    let missing = |what: &str| {
        Error::Failed(format!(
            "{what} is missing: install it (Debian, Ubuntu: mariadb-server), or name a server with \
                --server"
        ))
    };
    let server = find(&["mariadbd", "mysqld"]).ok_or_else(|| missing("mariadbd"))?;
    let install = find(&["mariadb-install-db", "mysql_install_db"])
        .ok_or_else(|| missing("mariadb-install-db"))?;
    let data = format!("--datadir={}", dir.join("data").display());
    // A server that runs as root must be told that this is meant.
    let user = rustix::process::geteuid()
        .is_root()
        .then(|| "--user=root".to_owned());
    eprintln!("starting a MariaDB");
    let made = Command::new(&install)
        .args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            &data,
        ])
        .args(&user)
        .output()
        .map_err(|e| Error::failed(install.display(), e))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).into_owned()
            + &String::from_utf8_lossy(&made.stdout);
        let tail: Vec<&str> = said.lines().rev().take(3).collect();
        return Err(Error::failed(install.display(), tail.join(" | ")));
    }
    let init = dir.join("init.sql");
    let sql = format!("CREATE USER IF NOT EXISTS {USER}@'%';\nGRANT ALL ON *.* TO {USER}@'%';\n");
    std::fs::write(&init, sql).map_err(|e| Error::failed(init.display(), e))?;
    let address = free_port()?;
    let mut args = vec!["--no-defaults".to_owned(), data];
    args.extend(user);
    args.push(format!("--init-file={}", init.display()));
    args.push(format!("--port={}", address.port()));
    args.push(format!("--socket={}", dir.join("sock").display()));
    args.push(format!("--pid-file={}", dir.join("pid").display()));
    let options = [
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--performance-schema=OFF",
        "--innodb-buffer-pool-size=256M",
        "--innodb-flush-log-at-trx-commit=0",
        "--query-cache-type=0",
        "--max-connections=2000",
        "--character-set-server=utf8mb4",
    ];
    args.extend(options.map(str::to_owned));
    let mut service = Service::start(&server, &args, &dir.join("mariadb.log"))?;
    let endpoint = Endpoint::own(address, USER, "", service.pid());
    service.wait_for("mariadbd", SERVER_PATIENCE, || Connection::open(&endpoint, None).ok())?;
    Ok((service, endpoint))
}

/// Starts HAProxy in TCP mode with one thread. `None`: it is not installed.
pub(crate) fn haproxy(dir: &Path, server: &Endpoint) -> Result<Option<(Service, Endpoint)>, Error> {
    let Some(program) = find(&["haproxy"]) else { return Ok(None) };
    let address = free_port()?;
    let config = dir.join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\n  maxconn 8000\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
            timeout client 1h\n  timeout server 1h\n\
         listen bench\n  bind {address}\n  server s {}\n",
        server
    );
    std::fs::write(&config, text).map_err(|e| Error::failed(config.display(), e))?;
    let args = ["-db", "-f", &config.display().to_string()].map(str::to_owned);
    let mut service = Service::start(&program, &args, &dir.join("haproxy.log"))?;
    service.wait_for("haproxy", PROXY_PATIENCE, || TcpStream::connect(address).ok())?;
    let endpoint = server.behind(address, service.pid());
    Ok(Some((service, endpoint)))
}

/// Starts this very program as a drop-in on one core.
pub(crate) fn coregate(dir: &Path, server: &Endpoint) -> Result<(Service, Endpoint), Error> {
    let url = server.url();
    let args = ["serve", "--upstream", &url, "--cores", "1"].map(str::to_owned);
    let (service, address) = this_program(&args, &dir.join("coregate.log"))?;
    let endpoint = server.behind(address, service.pid());
    Ok((service, endpoint))
}

/// Starts a sharded cluster with this very program on one core, and database servers of its own.
pub(crate) fn sharded(
    dir: &Path,
    keyspace: &str,
    shards: u32,
) -> Result<(Service, Endpoint), Error> {
    let state = dir.join("sharded").display().to_string();
    let keyspace = match shards {
        1 => format!("{keyspace}:-"),
        more => format!("{keyspace}:{more}"),
    };
    let args =
        ["local", "--dir", &state, "--keyspace", &keyspace, "--cores", "1"].map(str::to_owned);
    eprintln!("starting a cluster of {shards} shards");
    let (service, address) = this_program(&args, &dir.join("sharded.log"))?;
    let endpoint =
        Endpoint { sharded: true, ..Endpoint::own(address, "app", "app", service.pid()) };
    Ok((service, endpoint))
}

fn this_program(args: &[String], log: &Path) -> Result<(Service, SocketAddr), Error> {
    let program = std::env::current_exe().map_err(|e| Error::failed("this program's path", e))?;
    let what = format!("coregate {}", args.first().map_or("", String::as_str));
    let own = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"].map(str::to_owned);
    let mut service = Service::start(&program, &[args, &own].concat(), log)?;
    let ready = service.line(&what, "READY ")?;
    let address = ready
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("mysql=")?.parse().ok());
    let address =
        address.ok_or_else(|| Error::failed(&what, format!("its READY line is {ready:?}")))?;
    Ok((service, address))
}
