//! Where etcd is.
use crate::Error;

/// The members of an etcd cluster, and the root that all keys of this topology stand under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `HOST:PORT`
    pub(super) members: Vec<String>,
    /// `/coregate`, without a slash at its end.
    pub(super) root: String,
}

/// Without any other.
const ROOT: &str = "/coregate";
/// etcd's own.
const PORT: u16 = 2379;

impl EtcdConfig {
    /// As `--topo` takes it.
    pub(crate) fn url(&self) -> String {
        format!("etcd://{}{}", self.members.join(","), self.root)
    }

    /// Endpoints as etcd's tools take them: `http://HOST:PORT` or `HOST:PORT`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn new(endpoints: &[String], root: Option<&str>) -> Result<Self, String> {
        if endpoints.is_empty() {
            return Err("no endpoint is named; write e.g. [\"http://127.0.0.1:2379\"]".to_owned());
        }
        let members = endpoints
            .iter()
            .map(|e| member(e))
            .collect::<Result<_, _>>()?;
        let root = root.unwrap_or(ROOT).trim_end_matches('/');
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        if !root.starts_with('/') || root.len() < 2 || root.contains("//") || !root.chars().all(fine) {
            return Err(format!("the root {root:?} must be a path such as {ROOT}"));
        }
        Ok(Self { members, root: root.to_owned() })
    }

    /// `etcd://HOST:PORT[,HOST:PORT...][/ROOT]`
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix("etcd://") else {
            return Err(format!("{url:?}: write etcd://HOST:PORT[,HOST:PORT...][/ROOT]"));
        };
        let (members, root) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let members: Vec<String> = members.split(',').map(str::to_owned).collect();
        Self::new(&members, Some(root).filter(|root| root.len() > 1)).map_err(|why| format!("{url}: {why}"))
    }
}

fn member(endpoint: &str) -> Result<String, String> {
    if endpoint.starts_with("https://") {
        return Err(format!("{endpoint}: etcd over TLS is not supported yet; write http://HOST:PORT"));
    }
    let bare = endpoint
        .strip_prefix("http://")
        .unwrap_or(endpoint)
        .trim_end_matches('/');
    let wrong = || format!("{endpoint:?} is not HOST:PORT");
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().map_err(|_| wrong())?),
        _ => (bare, PORT),
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(fine) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

impl std::str::FromStr for EtcdConfig {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Self::parse(url).map_err(Error::Config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let of = |url: &str| EtcdConfig::parse(url).map(|c| (c.members.join(" "), c.root));
        let fine = |members: &str, root: &str| Ok((members.to_owned(), root.to_owned()));
        assert_eq!(of("etcd://h:1"), fine("h:1", "/coregate"));
        assert_eq!(of("etcd://h,[::1]:2/a/b/"), fine("h:2379 [::1]:2", "/a/b"));
        for wrong in ["h:1", "etcd://", "etcd://h:x", "etcd://h h:1", "etcd://h//a", "etcd://h/a b"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let endpoints = |list: &[&str]| list.iter().map(|&e| e.to_owned()).collect::<Vec<_>>();
        assert!(EtcdConfig::new(&endpoints(&["http://h:1/"]), Some("/r")).is_ok());
        for (list, root) in [(&[][..], "/r"), (&["https://h:1"], "/r"), (&["h"], "r"), (&["h"], "/")] {
            assert!(EtcdConfig::new(&endpoints(list), Some(root)).is_err(), "{list:?} {root}");
        }
    }
}
