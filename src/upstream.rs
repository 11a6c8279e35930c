//! `--upstream
//! mysql://user:password@host:port[/?socket=...&ssl-mode=...&ssl-ca=...&ssl-cert=...&ssl-key=...]`
use crate::Failure;
use crate::config::File;
use coregate_benches::MysqlUrl;
use coregate_controlplane::Upstream;
use coregate_dataplane::BackendTlsFiles;
use coregate_planner::snapshot::BackendTls;
use std::path::{Path, PathBuf};

/// Never shows the address itself: it holds a password.
fn bad(why: &str) -> Failure {
    Failure::Usage(format!(
        "--upstream: {why}; write mysql://user:password@host:port, special characters as %XX"
    ))
}

/// The URL of the command line or of the environment. The servers are either one or a topology's,
/// never both.
pub(crate) fn given(argument: Option<String>, file: &File) -> Result<Option<String>, Failure> {
    let (name, url) = match argument {
        Some(url) => ("--upstream", Some(url)),
        None => ("COREGATE_UPSTREAM", variable("COREGATE_UPSTREAM")?),
    };
    if url.is_some() && file.topology.is_given() {
        return Err(Failure::Usage(format!(
            "topology.dir or topology.store and {name} both say which servers there are: leave one \
                of them out"
        )));
    }
    Ok(url)
}

/// The password where the URL has none.
pub(crate) fn password(file: Option<&Path>) -> Result<String, Failure> {
    let Some(path) = file else {
        return Ok(variable("COREGATE_UPSTREAM_PASSWORD")?.unwrap_or_default());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::Usage(format!("--upstream-password-file {}: {e}", path.display())))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text).filter(|t| !t.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(_) => Err(Failure::Usage(format!("{name} must be UTF-8"))),
    }
}

pub(crate) fn parse(text: &str) -> Result<(Upstream, BackendTlsFiles), Failure> {
    let url = MysqlUrl::parse(text).map_err(|e| bad(&e))?;
    if url.user.is_empty() {
        return Err(bad("the user is missing"));
    }
    if !url.path.is_empty() {
        return Err(bad("a database cannot be given: all of the server's are there"));
    }
    let mut tls = BackendTls::default();
    let (mut files, mut socket) = (BackendTlsFiles::default(), None);
    for (key, value) in &url.parameters {
        let path = || Some(PathBuf::from(value));
        match key.replace('_', "-").as_str() {
            "ssl-mode" | "sslmode" => tls = mode(value)?,
            "ssl-ca" => files.ca = path(),
            "ssl-cert" => files.cert = path(),
            "ssl-key" => files.key = path(),
            "socket" => socket = path(),
            _ => {
                let known = "socket, ssl-mode, ssl-ca, ssl-cert and ssl-key";
                return Err(bad(&format!("the parameter {key:?} is not known; there are {known}")));
            }
        }
    }
    let MysqlUrl { host, port, user, password, .. } = url;
    Ok((Upstream { host, port, socket, user, password, tls }, files))
}

fn mode(value: &str) -> Result<BackendTls, Failure> {
    match value.to_ascii_lowercase().replace('-', "_").as_str() {
        "disabled" => Ok(BackendTls::Disabled),
        "preferred" => Ok(BackendTls::Preferred),
        "required" => Ok(BackendTls::Required),
        "verify_ca" => Ok(BackendTls::VerifyCa),
        "verify_identity" => Ok(BackendTls::VerifyIdentity),
        _ => {
            let allowed = "disabled, preferred, required, verify_ca or verify_identity";
            Err(bad(&format!("ssl-mode is {value:?}, it must be {allowed}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let (u, _) = parse("mysql://a%40b:p%3A%2F%25%C3%A4@db.example:3310").unwrap();
        assert_eq!(
            (u.user.as_str(), u.password.as_str(), u.host.as_str(), u.port),
            ("a@b", "p:/%ä", "db.example", 3310)
        );
        let (u, _) = parse("mysql://root@127.0.0.1/?ssl-mode=DISABLED").unwrap();
        assert_eq!((u.password.as_str(), u.port, u.tls), ("", 3306, BackendTls::Disabled));
        assert_eq!(parse("mysql://u:p@[::1]:1").unwrap().0.host, "[::1]");
        let (u, files) =
            parse("mysql://u@h/?ssl-mode=verify_ca&ssl-ca=%2Fa%20b.pem&ssl-cert=c&ssl_key=k")
                .unwrap();
        let paths = [files.ca, files.cert, files.key].map(|f| f.unwrap().display().to_string());
        assert_eq!(
            (u.tls, paths),
            (BackendTls::VerifyCa, ["/a b.pem", "c", "k"].map(str::to_owned))
        );
        let (u, _) = parse("mysql://u:p@localhost/?socket=%2Frun%2Fmy.sock").unwrap();
        assert_eq!(u.socket, Some(PathBuf::from("/run/my.sock")));
        for wrong in [
            "",
            "x",
            "http://u@h",
            "mysql://h",
            "mysql://u:secret@h/db",
            "mysql://u:secret@h?x=1",
            "mysql://u:secret@h:99999",
            "mysql://u:%zz@h",
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(matches!(&error, Failure::Usage(m) if !m.contains("secret")), "{wrong}");
        }
    }

    #[test]
    fn passwords_come_from_files() {
        let path = std::env::temp_dir().join(format!("coregate-password-{}", std::process::id()));
        std::fs::write(&path, "a b\n").unwrap();
        assert_eq!(password(Some(&path)).unwrap(), "a b");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(password(Some(&path)),
                Err(Failure::Usage(m)) if m.contains("--upstream-password-file")));
    }

    #[test]
    fn servers_are_named_once() {
        let mut file = File::default();
        let url = || Some("mysql://u@h".to_owned());
        assert_eq!(given(url(), &file).unwrap(), url());
        file.topology.dir = Some("/t".into());
        assert!(
            matches!(given(url(), &file), Err(Failure::Usage(m)) if m.contains("topology.dir"))
        );
    }
}
