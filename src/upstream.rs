//! `--upstream mysql://user:password@host:port[/?ssl-mode=...&ssl-ca=...&ssl-cert=...&ssl-key=...]`
use crate::Failure;
use coregate_controlplane::Upstream;
use coregate_dataplane::BackendTlsFiles;
use coregate_planner::snapshot::BackendTls;
use std::path::PathBuf;
use url::Url;

/// Never shows the address itself: it holds a password.
fn bad(why: &str) -> Failure {
    Failure::Usage(format!(
        "--upstream: {why}; write mysql://user:password@host:port, special characters as %XX"
    ))
}

pub(crate) fn parse(text: &str) -> Result<(Upstream, BackendTlsFiles), Failure> {
    let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
    if url.scheme() != "mysql" {
        return Err(bad(&format!("the scheme is {:?}, it must be mysql", url.scheme())));
    }
    let host = url
        .host_str()
        .filter(|h| !h.is_empty())
        .ok_or_else(|| bad("the host is missing"))?;
    if url.username().is_empty() {
        return Err(bad("the user is missing"));
    }
    if !matches!(url.path(), "" | "/") {
        return Err(bad("a database cannot be given: all of the server's are there"));
    }
    let decode =
        |text: &str| percent_decode(text).ok_or_else(|| bad("a %XX is not two hexadecimal digits of UTF-8"));
    let mut tls = BackendTls::default();
    let mut files = BackendTlsFiles::default();
    for (key, value) in url.query_pairs() {
        let path = || Some(PathBuf::from(value.as_ref()));
        match key.replace('_', "-").as_str() {
            "ssl-mode" | "sslmode" => tls = mode(&value)?,
            "ssl-ca" => files.ca = path(),
            "ssl-cert" => files.cert = path(),
            "ssl-key" => files.key = path(),
            _ => {
                let known = "ssl-mode, ssl-ca, ssl-cert and ssl-key";
                return Err(bad(&format!("the parameter {key:?} is not known; there are {known}")));
            }
        }
    }
    let upstream = Upstream {
        host: decode(host)?,
        port: url.port().unwrap_or(3306),
        user: decode(url.username())?,
        password: decode(url.password().unwrap_or_default())?,
        tls,
    };
    Ok((upstream, files))
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

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(out).ok()
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
            parse("mysql://u@h/?ssl-mode=verify_ca&ssl-ca=%2Fa%20b.pem&ssl-cert=c&ssl_key=k").unwrap();
        let paths = [files.ca, files.cert, files.key].map(|f| f.unwrap().display().to_string());
        assert_eq!((u.tls, paths), (BackendTls::VerifyCa, ["/a b.pem", "c", "k"].map(str::to_owned)));
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
}
