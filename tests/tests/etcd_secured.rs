//! An etcd with TLS that wants our certificate, and with users.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, Process, free_port, guard, wait_until, world};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use std::path::PathBuf;
use std::process::{Command, Output};

struct Secured {
    dir: PathBuf,
    client: u16,
    peer: u16,
    process: Option<Process>,
}

/// `ca.pem`, and `server.pem`, `client.pem` with their keys.
fn certificates(dir: &std::path::Path) {
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    write("ca.pem", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        // Its gateway takes no certificate that says a CommonName: that would be a user's.
        params.distinguished_name = DistinguishedName::new();
        write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

impl Secured {
    fn start(name: &str) -> Self {
        let dir = guard::dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        certificates(&dir);
        let mut etcd = Self { dir, client: free_port(), peer: free_port(), process: None };
        etcd.launch();
        for args in [
            &["user", "add", "root:root"][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", "coregate"],
            &["role", "grant-permission", "coregate", "readwrite", "/secured/", "--prefix=true"],
            &["user", "add", "coregate:secret"],
            &["user", "grant-role", "coregate", "coregate"],
            &["auth", "enable"],
        ] {
            let output = etcd.ctl(args);
            assert!(
                output.status.success(),
                "{args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        etcd
    }

    fn launch(&mut self) {
        let file = |name: &str| self.dir.join(name).to_str().unwrap().to_owned();
        let (client, peer) = (self.client, self.peer);
        let (client, peer) =
            (format!("https://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new("etcd");
        command.args([
            "--name",
            "m",
            "--data-dir",
            &file("data"),
            "--logger",
            "zap",
            "--log-level",
            "error",
        ]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("m={peer}")]);
        command.args(["--cert-file", &file("server.pem"), "--key-file", &file("server.key")]);
        command.args(["--client-cert-auth", "--trusted-ca-file", &file("ca.pem")]);
        self.process = Some(Process::start("etcd-secured", &mut command));
        wait_until("etcd answers", || self.ctl(&["endpoint", "status"]).status.success());
    }

    fn ctl(&self, args: &[&str]) -> Output {
        let file = |name: &str| self.dir.join(name).to_str().unwrap().to_owned();
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &format!("https://127.0.0.1:{}", self.client)]);
        command.args([
            "--cacert",
            &file("ca.pem"),
            "--cert",
            &file("client.pem"),
            "--key",
            &file("client.key"),
        ]);
        command
            .args(["--user", "root:root"])
            .args(args)
            .output()
            .unwrap()
    }

    fn url(&self) -> String {
        format!("etcds://127.0.0.1:{}/secured", self.client)
    }

    /// `coregate`, that knows how to reach it but for what is given.
    fn coregate(&self, args: &[&str], but: &[(&str, &str)]) -> Output {
        let file = |name: &str| self.dir.join(name).to_str().unwrap().to_owned();
        let mut command = Command::new(coregate_tests::coregate::binary());
        for (name, value) in [
            ("CA", file("ca.pem")),
            ("CERT", file("client.pem")),
            ("KEY", file("client.key")),
            ("USER", "coregate".to_owned()),
            ("PASSWORD", "secret".to_owned()),
        ] {
            command.env(format!("COREGATE_ETCD_{name}"), value);
        }
        for (name, value) in but {
            command.env(format!("COREGATE_ETCD_{name}"), value);
        }
        command.args(args).output().unwrap()
    }
}

fn connect(coregate: &Coregate) -> Connection {
    coregate.connect_as(world::USER, world::PASSWORD, Some("ks"))
}

#[test]
fn the_topology_is_kept_in_an_etcd_with_tls_and_users() {
    let mut etcd = Secured::start("etcd-secured");
    let server = MariaDb::start("etcd-secured", &[]);
    let record = format!(
        r#"{{"keyspaces": [{{"name": "ks", "database": "test", "shards": [{{"name": "0",
            "tablets": [
            {{"alias": "z-1", "type": "primary", "socket": {:?}, "user": "sb",
            "password": "sb"}}]}}]}}]}}"#,
        server.socket()
    );
    let document = etcd.dir.join("topology.json");
    std::fs::write(&document, record).unwrap();
    let (document, url) = (document.to_str().unwrap(), etcd.url());
    let import = ["topo", "import", document, &url];
    for (but, code, part) in [
        (&[("PASSWORD", "wrong")][..], 1, "login of coregate"),
        (&[("USER", ""), ("PASSWORD", "")], 1, "permission denied"),
        (&[("CA", "")], 2, "topology.ca"),
        (&[("CERT", ""), ("KEY", "")], 1, "cannot be used"),
        (&[("CA", "/nowhere")], 2, "/nowhere"),
    ] {
        let output = etcd.coregate(&import, but);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(code) && text.contains(part),
            "{but:?}: {:?} {text}",
            output.status
        );
    }
    let output = etcd.coregate(&import, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let elsewhere = format!("etcds://127.0.0.1:{}/elsewhere", etcd.client);
    let output = etcd.coregate(&["topo", "import", document, &elsewhere], &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("permission denied"), "{output:?}");

    let (users, file) = (world::users_file(), |name: &str| etcd.dir.join(name));
    let config = format!(
        "[server]\ncores = 1\n[users]\nfile = {users:?}\n[topology]\nstore = \"etcd\"\n\
         endpoints = [\"https://localhost:{}\"]\nroot = \"/secured\"\nca = {:?}\ncert = {:?}\nkey \
         = {:?}\n\
         user = \"coregate\"\npassword = \"secret\"\n",
        etcd.client,
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    );
    let proxies =
        ["etcd-secured-a", "etcd-secured-b"].map(|name| Coregate::configured(name, &config));
    let [one, other] = &proxies;
    wait_until("they know each other", || {
        one.admin("/api/processes").matches("\"id\"").count() == 2
    });
    connect(one).run("create table t (id bigint primary key)");
    connect(other).run("insert into t (id) values (1)");
    connect(one).run("alter vschema create vindex ks.made using hash");
    assert!(other.admin("/api/keyspaces/ks/vschema").contains("made"));
    // Its tokens do not outlive it.
    etcd.process.take().unwrap().kill();
    wait_until("it is away", || one.metric("coregate_store_up") < 1.0);
    assert_eq!(connect(one).value("select count(*) from t").as_deref(), Some("1"));
    etcd.launch();
    wait_until("it is used again", || {
        one.metric("coregate_store_up") > 0.0
            && !connect(other)
                .query("alter vschema create vindex ks.later using hash")
                .is_error()
    });
    wait_until("by all", || one.admin("/api/keyspaces/ks/vschema").contains("later"));
    connect(one).run("create table u (id bigint primary key)");
}
