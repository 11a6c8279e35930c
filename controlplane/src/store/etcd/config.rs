//! Where etcd is.
use super::access::EtcdAccess;
use crate::Error;

/// The members of an etcd cluster, and the root that all keys of this topology stand under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `HOST:PORT`
    pub(super) members: Vec<String>,
    /// `/coregate`, without a slash at its end.
    pub(super) root: String,
    /// The members are reached by TLS.
    pub(super) tls: bool,
    pub(super) access: EtcdAccess,
}

/// Without any other.
const ROOT: &str = "/coregate";
const SCHEME: &str = "etcd://";
const TLS_SCHEME: &str = "etcds://";
/// etcd's own.
const PORT: u16 = 2379;

impl EtcdConfig {
    /// As `--topo` takes it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls { TLS_SCHEME } else { SCHEME };
        format!("{scheme}{}{}", self.members.join(","), self.root)
    }

    /// Is it of the form that [`parse`](Self::parse) takes?
    pub fn is_url(text: &str) -> bool {
        text.starts_with(SCHEME) || text.starts_with(TLS_SCHEME)
    }

    /// Endpoints as etcd's tools take them: `http://HOST:PORT` or `HOST:PORT`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn new(
        endpoints: &[String],
        root: Option<&str>,
        access: EtcdAccess,
    ) -> Result<Self, String> {
        if endpoints.is_empty() {
            return Err("no endpoint is named; write e.g. [\"http://127.0.0.1:2379\"]".to_owned());
        }
        let secure = |e: &&String| e.starts_with("https://");
        let tls = match endpoints.iter().filter(secure).count() {
            0 => false,
            all if all == endpoints.len() => true,
            _ => return Err("either all members are reached by https:// or none".to_owned()),
        };
        let access = access.or_environment(tls);
        access.check(tls)?;
        let members = endpoints
            .iter()
            .map(|e| member(e))
            .collect::<Result<_, _>>()?;
        let root = root.unwrap_or(ROOT).trim_end_matches('/');
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        if !root.starts_with('/')
            || root.len() < 2
            || root.contains("//")
            || !root.chars().all(fine)
        {
            return Err(format!("the root {root:?} must be a path such as {ROOT}"));
        }
        Ok(Self { members, root: root.to_owned(), tls, access })
    }

    /// `etcd://HOST:PORT[,HOST:PORT...][/ROOT]`, over TLS `etcds://`. How it is reached says the
    /// environment.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (rest, scheme) = match (url.strip_prefix(SCHEME), url.strip_prefix(TLS_SCHEME)) {
            (Some(rest), _) => (rest, "http://"),
            (_, Some(rest)) => (rest, "https://"),
            _ => {
                return Err(format!(
                    "{url:?}: write etcd://HOST:PORT[,HOST:PORT...][/ROOT], or etcds:// for TLS"
                ));
            }
        };
        let (members, root) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let members: Vec<String> = members.split(',').map(|m| format!("{scheme}{m}")).collect();
        let access = EtcdAccess::default();
        Self::new(&members, Some(root).filter(|root| root.len() > 1), access)
            .map_err(|why| format!("{url}: {why}"))
    }
}

fn member(endpoint: &str) -> Result<String, String> {
    let bare = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"))
        .unwrap_or(endpoint)
        .trim_end_matches('/');
    let wrong = || format!("{endpoint:?} is not HOST:PORT");
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse::<u16>().map_err(|_| wrong())?)
        }
        _ => (bare, PORT),
    };
    let fine =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
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
        for wrong in ["h:1", "etcd://", "etcd://h:x", "etcd://h h:1", "etcd://h//a", "etcd://h/a b"]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let endpoints = |list: &[&str]| list.iter().map(|&e| e.to_owned()).collect::<Vec<_>>();
        let access = |ca: &str| EtcdAccess { ca: Some(ca.into()), ..EtcdAccess::default() };
        let new = |list: &[&str], root: &str, access: EtcdAccess| {
            EtcdConfig::new(&endpoints(list), Some(root), access).map(|config| config.url())
        };
        assert_eq!(
            new(&["http://h:1/"], "/r", EtcdAccess::default()).as_deref(),
            Ok("etcd://h:1/r")
        );
        assert_eq!(
            new(&["https://h", "https://g:1"], "/r", access("ca")).as_deref(),
            Ok("etcds://h:2379,g:1/r")
        );
        for (list, root) in [
            (&[][..], "/r"),
            (&["https://h:1"], "/r"),
            (&["h"], "r"),
            (&["h"], "/"),
            (&["https://h", "h"], "/r"),
        ] {
            assert!(new(list, root, EtcdAccess::default()).is_err(), "{list:?} {root}");
        }
    }
}
