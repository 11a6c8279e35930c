//! `mysql://user:password@host:port/path?key=value`, as the harness and `--upstream` take it.
use url::Url;

/// The parts, percent-decoded. Errors never show the text: it holds a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlUrl {
    /// IPv6 addresses in brackets.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    /// Without the slash in front.
    pub path: String,
    pub parameters: Vec<(String, String)>,
}

impl MysqlUrl {
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url =
            Url::parse(text).map_err(|e| format!("{e}; write mysql://user:password@host:port"))?;
        if url.scheme() != "mysql" {
            return Err(format!("the scheme is {:?}, it must be mysql", url.scheme()));
        }
        let host = url
            .host_str()
            .filter(|h| !h.is_empty())
            .ok_or("the host is missing")?;
        let decode = |text: &str| {
            percent_decode(text)
                .ok_or_else(|| "a %XX is not two hexadecimal digits of UTF-8".to_owned())
        };
        Ok(Self {
            host: decode(host)?,
            port: url.port().unwrap_or(3306),
            user: decode(url.username())?,
            password: decode(url.password().unwrap_or_default())?,
            path: decode(url.path().trim_start_matches('/'))?,
            parameters: url.query_pairs().into_owned().collect(),
        })
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
