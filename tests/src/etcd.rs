//! etcd members of a test's own.
use crate::{Process, free_port, guard, wait_until};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[derive(Debug)]
struct Member {
    name: String,
    client: u16,
    peer: u16,
    process: Option<Process>,
}

#[derive(Debug)]
pub struct Etcd {
    dir: PathBuf,
    members: Vec<Member>,
}

impl Etcd {
    /// A cluster of so many members, that answers.
    pub fn start(name: &str, count: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // Between choosing a port and binding it, another may have taken it.
        for attempt in 0..5 {
            let dir = guard::dir().join(format!("{name}-{attempt}"));
            std::fs::create_dir_all(&dir).expect("a directory");
            let member = |n: usize| Member {
                name: format!("{name}-{n}"),
                client: free_port(),
                peer: free_port(),
                process: None,
            };
            let mut etcd = Self { dir, members: (0..count).map(member).collect() };
            for n in 0..count {
                etcd.launch(n);
            }
            if etcd.listens() {
                etcd.wait();
                return etcd;
            }
        }
        panic!("{name} does not start");
    }

    /// False if one of them has ended instead.
    fn listens(&mut self) -> bool {
        self.members.iter_mut().all(|member| {
            let mut lives = true;
            wait_until("etcd listens", || {
                lives = member.process.as_mut().is_some_and(|p| p.ended().is_none());
                !lives || TcpStream::connect(("127.0.0.1", member.client)).is_ok()
            });
            lives
        })
    }

    fn launch(&mut self, n: usize) {
        let peers = self
            .members
            .iter()
            .map(|m| format!("{}=http://127.0.0.1:{}", m.name, m.peer));
        let peers = peers.collect::<Vec<_>>().join(",");
        let dir = self.dir.join(n.to_string());
        let member = &mut self.members[n];
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut command = Command::new("etcd");
        command
            .args(["--name", &member.name, "--data-dir"])
            .arg(dir);
        command.args([
            "--listen-client-urls",
            &url(member.client),
            "--advertise-client-urls",
            &url(member.client),
        ]);
        command.args([
            "--listen-peer-urls",
            &url(member.peer),
            "--initial-advertise-peer-urls",
            &url(member.peer),
        ]);
        command.args([
            "--initial-cluster",
            &peers,
            "--initial-cluster-state",
            "new",
            "--logger",
            "zap",
        ]);
        command.args([
            "--heartbeat-interval",
            "50",
            "--election-timeout",
            "500",
            "--log-level",
            "error",
        ]);
        member.process = Some(Process::start(&member.name, &mut command));
    }

    /// The members agree on who leads them.
    pub fn wait(&self) {
        for member in self.members.iter().filter(|m| m.process.is_some()) {
            wait_until("etcd answers", || {
                let ask = || -> std::io::Result<String> {
                    use std::io::{Read, Write};
                    let mut socket = TcpStream::connect(("127.0.0.1", member.client))?;
                    write!(socket, "GET /health HTTP/1.0\r\n\r\n")?;
                    let mut answer = String::new();
                    socket.read_to_string(&mut answer)?;
                    Ok(answer)
                };
                ask().is_ok_and(|answer| answer.contains("\"true\""))
            });
        }
    }

    /// `etcd://...`, with a root of the test's own.
    pub fn url(&self, root: &str) -> String {
        let members = self
            .members
            .iter()
            .map(|m| format!("127.0.0.1:{}", m.client));
        format!("etcd://{}/{root}", members.collect::<Vec<_>>().join(","))
    }

    /// Where clients reach a member.
    pub fn port(&self, n: usize) -> u16 {
        self.members[n].client
    }

    /// As a list in `coregate.toml`.
    pub fn endpoints(&self) -> String {
        let members = self
            .members
            .iter()
            .map(|m| format!("\"http://127.0.0.1:{}\"", m.client));
        format!("[{}]", members.collect::<Vec<_>>().join(", "))
    }

    /// Ends a member as a crash would.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.members[n].process.take() {
            process.kill();
        }
    }

    pub fn restart(&mut self, n: usize) {
        self.launch(n);
    }

    pub fn kill_all(&mut self) {
        (0..self.members.len()).for_each(|n| self.kill(n));
    }

    pub fn restart_all(&mut self) {
        (0..self.members.len()).for_each(|n| self.launch(n));
        self.wait();
    }

    /// `etcdctl`, past all else.
    pub fn ctl(&self, args: &[&str]) -> String {
        let endpoints = self
            .members
            .iter()
            .map(|m| format!("http://127.0.0.1:{}", m.client));
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", endpoints.collect::<Vec<_>>().join(",")))
            .args(args)
            .output()
            .expect("etcdctl is missing: apt-get install etcd-client (make test does it)");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// A way to etcd that can be cut.
#[derive(Debug)]
pub struct Gate {
    pub port: u16,
    open: Arc<AtomicBool>,
}

impl Gate {
    pub fn before(port: u16) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let gate = Self { port: listener.local_addr().unwrap().port(), open: Arc::default() };
        gate.open.store(true, Ordering::Relaxed);
        let open = gate.open.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                if !open.load(Ordering::Relaxed) {
                    continue;
                }
                let ways = [(socket.try_clone().unwrap(), to.try_clone().unwrap()), (to, socket)];
                for (mut from, mut to) in ways {
                    let open = open.clone();
                    from.set_read_timeout(Some(std::time::Duration::from_millis(50)))
                        .unwrap();
                    std::thread::spawn(move || {
                        use std::io::{ErrorKind, Read, Write};
                        let mut buffer = [0; 4096];
                        while open.load(Ordering::Relaxed) {
                            match from.read(&mut buffer) {
                                Ok(0) => break,
                                Ok(n) if to.write_all(&buffer[..n]).is_ok() => {}
                                Err(e)
                                    if matches!(
                                        e.kind(),
                                        ErrorKind::WouldBlock | ErrorKind::TimedOut
                                    ) => {}
                                _ => break,
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        gate
    }

    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }
}
