//! TLS towards servers: what each ssl-mode believes, and what is said when it does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, MariaDb, guard, mariadb, wait_until};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key.
    fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A server whose certificate is for `localhost` and for no address, and the files to talk to it.
struct World {
    server: MariaDb,
    dir: PathBuf,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = guard::dir().join("backend-tls");
    std::fs::create_dir_all(&dir).unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let (cert, key) = right.issue("localhost");
    let (client_cert, client_key) = right.issue("coregate");
    put("ca.pem", &right.pem);
    put("wrong-ca.pem", &wrong.pem);
    put("server.pem", &cert);
    put("server-key.pem", &key);
    put("client.pem", &client_cert);
    put("client-key.pem", &client_key);
    let option = |name: &str, file: &str| format!("--{name}={}", dir.join(file).display());
    let options = [
        option("ssl-ca", "ca.pem"),
        option("ssl-cert", "server.pem"),
        option("ssl-key", "server-key.pem"),
    ];
    let server = MariaDb::start("backend-tls", &options.each_ref().map(String::as_str));
    let mut conn = server.connect();
    conn.run("CREATE USER 'cert'@'%' IDENTIFIED BY 'pw' REQUIRE X509");
    conn.run("GRANT ALL ON *.* TO 'cert'@'%'");
    World { server, dir }
});

fn file(name: &str) -> String {
    WORLD.dir.join(name).display().to_string()
}

fn url(user: &str, host: &str, parameters: &[(&str, &str)]) -> String {
    let query: Vec<String> = parameters
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("mysql://{user}@{host}:{}/?{}", WORLD.server.port, query.join("&"))
}

fn start(name: &str, url: &str) -> Result<Coregate, String> {
    Coregate::try_start(
        name,
        ["serve", "--upstream", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    )
}

fn usual(host: &str, mode: &str, ca: &str) -> Coregate {
    let user = format!("{}:{}", mariadb::USER, mariadb::PASSWORD);
    start("verified", &url(&user, host, &[("ssl-mode", mode), ("ssl-ca", &file(ca))])).unwrap()
}

fn accepted(coregate: &Coregate, user: &str, password: &str) {
    let mut conn = coregate.connect_as(user, password, None);
    let rows = conn.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'").rows();
    let cipher = rows[0][1].clone().unwrap();
    assert!(!cipher.is_empty(), "the connection to the server is not encrypted");
    wait_until("the control plane reaches the server too", || {
        coregate.metric("coregate_tablet_serving") == 1.0
    });
}

/// A statement fails with a sentence that has `part` in it; the control plane says the same.
fn refused(coregate: &Coregate, part: &str) {
    let mut conn = coregate.connect_as(mariadb::USER, mariadb::PASSWORD, None);
    let answer = conn.query("SELECT 1");
    let error = answer.error();
    assert_eq!(error.code, 1429, "{error:?}");
    assert!(
        error
            .message
            .contains("cannot connect to upstream: ssl-mode verify_"),
        "{}",
        error.message
    );
    assert!(error.message.contains(part), "{}", error.message);
    wait_until("the control plane says why", || {
        coregate.admin("/debug/status?format=json").contains(part)
    });
}

#[test]
fn the_right_authority_is_believed() {
    accepted(&usual("localhost", "verify_ca", "ca.pem"), mariadb::USER, mariadb::PASSWORD);
    accepted(&usual("localhost", "VERIFY_IDENTITY", "ca.pem"), mariadb::USER, mariadb::PASSWORD);
}

#[test]
fn another_authority_is_refused() {
    for mode in ["verify_ca", "verify_identity"] {
        refused(
            &usual("localhost", mode, "wrong-ca.pem"),
            "wrong-ca.pem has signed the server's certificate",
        );
    }
    // `required` encrypts and does not look.
    accepted(&usual("localhost", "required", "wrong-ca.pem"), mariadb::USER, mariadb::PASSWORD);
}

#[test]
fn another_name_is_refused_under_verify_identity_only() {
    refused(
        &usual("127.0.0.1", "verify_identity", "ca.pem"),
        "the server's certificate is not for",
    );
    accepted(&usual("127.0.0.1", "verify_ca", "ca.pem"), mariadb::USER, mariadb::PASSWORD);
}

#[test]
fn a_certificate_is_shown_to_a_server_that_demands_one() {
    let ca = file("ca.pem");
    let without = [("ssl-mode", "verify_identity"), ("ssl-ca", ca.as_str())];
    let coregate = start("without", &url("cert:pw", "localhost", &without)).unwrap();
    let denied = coregate.connect_as("cert", "pw", None).query("SELECT 1");
    assert_eq!(denied.error().code, 1045);
    let (cert, key) = (file("client.pem"), file("client-key.pem"));
    let with = [without[0], without[1], ("ssl-cert", cert.as_str()), ("ssl-key", key.as_str())];
    accepted(&start("with", &url("cert:pw", "localhost", &with)).unwrap(), "cert", "pw");
}

#[test]
fn what_cannot_work_is_said_at_start() {
    let missing = file("missing.pem");
    let not_pem = WORLD.dir.join("not.pem");
    std::fs::write(&not_pem, "no certificate").unwrap();
    let (ca, not_pem) = (file("ca.pem"), not_pem.display().to_string());
    for (parameters, part) in [
        (vec![("ssl-mode", "verify_ca")], "needs the certificate of the authority"),
        (vec![("ssl-mode", "verify_ca"), ("ssl-ca", &missing)], "missing.pem"),
        (vec![("ssl-mode", "verify_ca"), ("ssl-ca", &not_pem)], "there is no certificate in it"),
        (vec![("ssl-ca", ca.as_str()), ("ssl-cert", &ca)], "needs its key"),
        (vec![("ssl-capath", "x")], "there are socket, ssl-mode, ssl-ca, ssl-cert and ssl-key"),
    ] {
        let error = start("wrong", &url("sb:sb", "localhost", &parameters)).unwrap_err();
        assert!(
            error.contains(part) && error.contains("exit status: 2"),
            "{parameters:?}: {error}"
        );
    }
}

#[test]
fn tablets_of_a_topology_are_verified() {
    let dir = WORLD.dir.join("topo");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    std::fs::write(dir.join("users.json"), r#"{"u": {"Password": "p"}}"#).unwrap();
    let keyspace = |tls: &str, place: &str| {
        let text = format!(
            r#"{{"name": "test", "shards": [{{"name": "0", "tablets": [{{"alias": "zone1-100",
                "type": "primary",
               {place}, "port": {}, "user": "sb", "password": "sb", "tls": "{tls}"}}]}}]}}"#,
            WORLD.server.port
        );
        std::fs::write(dir.join("topology/test.json"), text).unwrap();
    };
    let config = |name: &str, ca: &Path| {
        let text = format!(
            "[topology]\ndir = {dir:?}\n[users]\nfile = \"{}\"\n[backend_tls]\nca = {ca:?}\n",
            dir.join("users.json").display()
        );
        Coregate::configured(name, &text)
    };
    let ca = WORLD.dir.join("ca.pem");
    keyspace("verify_identity", r#""host": "localhost""#);
    accepted(&config("identity", &ca), "u", "p");
    keyspace("verify_identity", &format!(r#""socket": {:?}"#, WORLD.server.socket()));
    accepted(&config("socket", &ca), "u", "p");
    keyspace("verify_identity", r#""host": "127.0.0.1""#);
    let coregate = config("other-name", &ca);
    let answer = coregate
        .connect_as("u", "p", Some("test"))
        .query("SELECT 1 FROM t");
    assert!(answer.error().message.contains("not for \"127.0.0.1\""), "{answer:?}");
}
