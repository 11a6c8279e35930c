//! The PROXY protocol, v1 and v2: a balancer in front tells the client's address
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).
use crate::link::PacketStream;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// A v1 line is at most 107 bytes; v2 headers may carry extensions.
const HEADER_MAX: usize = 4096;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// More bytes must come.
    Partial,
    /// So many bytes, and the client's address if the balancer tells it; if not (UNKNOWN, LOCAL),
    /// the connection's own counts.
    Whole(usize, Option<IpAddr>),
    Malformed,
}

/// Reads the header that must come first.
///
/// # Errors
/// There is none, or it is malformed.
pub(crate) async fn read(stream: &mut PacketStream) -> io::Result<Option<IpAddr>> {
    let mut seen = Vec::new();
    loop {
        match parse(&seen) {
            Header::Whole(len, address) => {
                let rest = seen.split_off(len);
                if !rest.is_empty() {
                    stream.put_back(rest.into());
                }
                return Ok(address);
            }
            Header::Malformed => return Err(io::ErrorKind::InvalidData.into()),
            Header::Partial if seen.len() > HEADER_MAX => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Header::Partial => {}
        }
        let Some(buf) = poll_fn(|cx| stream.link.poll_read(cx)).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        seen.extend_from_slice(&buf);
    }
}

fn parse(bytes: &[u8]) -> Header {
    let start = &bytes[..bytes.len().min(SIGNATURE.len())];
    if SIGNATURE.starts_with(start) {
        return if start.len() < SIGNATURE.len() { Header::Partial } else { parse_v2(bytes) };
    }
    if b"PROXY ".starts_with(&bytes[..bytes.len().min(6)]) {
        return parse_v1(bytes);
    }
    Header::Malformed
}

fn parse_v1(bytes: &[u8]) -> Header {
    let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else {
        return if bytes.len() < 107 { Header::Partial } else { Header::Malformed };
    };
    let line = bytes
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok())
        .unwrap_or_default();
    let mut words = line.split(' ').skip(1);
    match (words.next(), words.next()) {
        (Some("UNKNOWN"), _) => Header::Whole(end + 2, None),
        (Some("TCP4" | "TCP6"), Some(source)) => match source.parse() {
            Ok(address) => Header::Whole(end + 2, Some(IpAddr::to_canonical(&address))),
            Err(_) => Header::Malformed,
        },
        _ => Header::Malformed,
    }
}

fn parse_v2(bytes: &[u8]) -> Header {
    let Some(&[version, family, hi, lo]) = bytes.get(12..16).and_then(|b| b.first_chunk::<4>())
    else {
        return Header::Partial;
    };
    let len = usize::from(u16::from_be_bytes([hi, lo]));
    // The low half is the command: LOCAL or PROXY.
    if version >> 4 != 2 || version & 0xF > 1 || len > HEADER_MAX {
        return Header::Malformed;
    }
    let Some(body) = bytes.get(16..16 + len) else { return Header::Partial };
    let local = version & 0xF == 0;
    let address = match family >> 4 {
        1 if !local => body
            .first_chunk::<4>()
            .map(|a| IpAddr::from(Ipv4Addr::from(*a))),
        2 if !local => body
            .first_chunk::<16>()
            .map(|a| IpAddr::from(Ipv6Addr::from(*a))),
        _ => return Header::Whole(16 + len, None),
    };
    address
        .map_or(Header::Malformed, |address| Header::Whole(16 + len, Some(address.to_canonical())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_give_the_address() {
        let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 3306\r\nrest";
        assert_eq!(parse(v1), Header::Whole(42, Some("192.0.2.7".parse().expect("an address"))));
        let mut v2 = SIGNATURE.to_vec();
        v2.extend_from_slice(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1, 0, 1, 0, 2]);
        assert_eq!(parse(&v2), Header::Whole(28, Some("192.0.2.7".parse().expect("an address"))));
        for cut in 0..v2.len() {
            assert_eq!(parse(&v2[..cut]), Header::Partial, "{cut}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        assert_eq!(parse(b"GET / HTTP/1.0\r\n"), Header::Malformed);
        assert_eq!(parse(b"PROXY TCP4 nonsense x\r\n"), Header::Malformed);
        let mut command = SIGNATURE.to_vec();
        command.extend_from_slice(&[0x22, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1, 0, 1, 0, 2]);
        assert_eq!(parse(&command), Header::Malformed);
    }

    #[test]
    fn no_address_is_told() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Header::Whole(15, None));
        assert_eq!(parse(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Header::Whole(35, None));
        for (command, family) in [(0x20, 0x11), (0x20, 0), (0x21, 0)] {
            let mut local = SIGNATURE.to_vec();
            local.extend_from_slice(&[
                command, family, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1, 0, 1, 0, 2,
            ]);
            assert_eq!(parse(&local), Header::Whole(28, None));
        }
    }
}
