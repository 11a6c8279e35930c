//! What lies between a connection's bytes and its packets, where it was agreed on: TLS, and
//! compression inside of it.
use crate::ring::Buf;
use crate::tls::Tls;
use coregate_protocol::compress::{Compressor, Decompressor};
use std::io;

#[derive(Default)]
pub(super) struct Layers {
    pub(super) tls: Option<Tls>,
    pub(super) compression: Option<(Compressor, Decompressor)>,
    /// Bytes behind the compressed packet that is being read: they may belong to the next command,
    /// and are not looked at before that begins.
    pub(super) packed: Option<Buf>,
    /// Sequence id of the next compressed packet to the peer.
    pub(super) compressed_seq: u8,
}

impl Layers {
    pub(super) fn decrypt(&mut self, raw: Buf, wire: &mut Vec<u8>) -> io::Result<Buf> {
        let Some(tls) = &mut self.tls else { return Ok(raw) };
        let mut plain = Vec::new();
        tls.decrypt(&raw, &mut plain, wire)?;
        Ok(Buf::from(plain))
    }

    /// What the next compressed packet holds. Any sequence id will do: each command, and each of a
    /// client's replies within one, counts anew or goes on, as the client likes; the answer goes on
    /// from the packet's.
    pub(super) fn unpack(&mut self) -> io::Result<Option<Buf>> {
        let (Some((_, decompressor)), Some(packed)) = (&mut self.compression, &mut self.packed)
        else {
            return Ok(None);
        };
        let mut plain = Vec::new();
        while plain.is_empty() && !packed.is_empty() {
            if !decompressor.is_partial() {
                decompressor.expect(None);
            }
            let taken = decompressor
                .feed(packed, &mut plain)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            packed.consume(taken);
            self.compressed_seq = decompressor.next_seq();
        }
        if packed.is_empty() {
            self.packed = None;
        }
        Ok((!plain.is_empty()).then(|| Buf::from(plain)))
    }

    pub(super) fn wrap_bytes(&mut self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let compressed = match &mut self.compression {
            Some((compressor, _)) => {
                let mut out = Vec::new();
                compressor.compress(plain, &mut self.compressed_seq, &mut out);
                Some(out)
            }
            None => None,
        };
        let bytes = compressed.as_deref().unwrap_or(plain);
        match &mut self.tls {
            Some(tls) => {
                let mut wire = Vec::with_capacity(crate::tls::wire_len(bytes.len()));
                tls.encrypt(bytes, &mut wire)?;
                Ok(wire)
            }
            None => Ok(compressed.unwrap_or_else(|| plain.to_vec())),
        }
    }
}
