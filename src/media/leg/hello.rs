//! Reads which SRTP profiles a DTLS client offers, before the DTLS server sees its first message: the server's
//! configuration depends on it. A ClientHello of a browser comes in one or two datagrams.

/// Puts a ClientHello together.
#[derive(Debug, Default)]
pub struct HelloReader {
    body: Vec<u8>,
    known: Vec<bool>,
}

/// What the reader found so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// Parts are missing.
    Incomplete,
    /// The client can do AEAD_AES_128_GCM.
    Gcm,
    /// It cannot, or does not say.
    Other,
}

impl HelloReader {
    /// Takes the next datagram.
    pub fn read(&mut self, datagram: &[u8]) -> Hello {
        let mut rest = datagram;
        while let Some((record, after)) = split_record(rest) {
            rest = after;
            self.read_fragment(record);
        }
        if self.known.is_empty() || self.known.contains(&false) {
            return Hello::Incomplete;
        }
        if offers_gcm(&self.body).unwrap_or(false) { Hello::Gcm } else { Hello::Other }
    }

    // RFC 6347 §4.2.2: type, length (3), message number (2), fragment offset (3), fragment length (3).
    fn read_fragment(&mut self, record: &[u8]) {
        let Some((head, data)) = record.split_at_checked(12) else { return };
        let number =
            |at: usize| usize::from(head[at]) << 16 | usize::from(head[at + 1]) << 8 | usize::from(head[at + 2]);
        let (length, offset, size) = (number(1), number(6), number(9));
        let is_hello = head[0] == CLIENT_HELLO && length <= MAX_HELLO;
        if !is_hello || offset + size > length || size > data.len() {
            return;
        }
        if self.known.len() != length {
            self.body = vec![0; length];
            self.known = vec![false; length];
        }
        self.body[offset..offset + size].copy_from_slice(&data[..size]);
        self.known[offset..offset + size].fill(true);
    }
}

// RFC 6347 §4.1: type, version (2), epoch (2), number (6), length (2).
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = data.split_at_checked(13)?;
    let is_plain_handshake = head[0] == HANDSHAKE && head[3..5] == [0, 0];
    if !is_plain_handshake {
        return None;
    }
    rest.split_at_checked(usize::from(u16::from_be_bytes([head[11], head[12]])))
}

fn offers_gcm(body: &[u8]) -> Option<bool> {
    let mut rest = body.get(2 + 32..)?;
    for length_bytes in [1, 1, 2, 1] {
        // Session id, cookie, cipher suites, compression methods.
        rest = skip(rest, length_bytes)?;
    }
    let (_, mut extensions) = rest.split_at_checked(2)?;
    while let Some((head, after)) = extensions.split_at_checked(4) {
        let size = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (value, next) = after.split_at_checked(size)?;
        if head[..2] == USE_SRTP {
            let count = usize::from(u16::from_be_bytes([*value.first()?, *value.get(1)?]));
            return Some(value.get(2..2 + count)?.chunks_exact(2).any(|profile| profile == AEAD_AES_128_GCM));
        }
        extensions = next;
    }
    Some(false)
}

fn skip(data: &[u8], length_bytes: usize) -> Option<&[u8]> {
    let (length, rest) = data.split_at_checked(length_bytes)?;
    let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    rest.get(length..)
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: [u8; 2] = [0, 14];
const AEAD_AES_128_GCM: [u8; 2] = [0, 7];
const MAX_HELLO: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(profiles: &[u16]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([9; 32]);
        body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        let mut extensions = vec![0, 23, 0, 0];
        let list: Vec<u8> = profiles.iter().flat_map(|profile| profile.to_be_bytes()).collect();
        extensions.extend([0, 14, 0, list.len() as u8 + 3, 0, list.len() as u8]);
        extensions.extend(list);
        extensions.push(0);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    fn datagram(body: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut message = vec![1, 0, (body.len() >> 8) as u8, body.len() as u8, 0, 0];
        message.extend([0, (from >> 8) as u8, from as u8, 0, ((to - from) >> 8) as u8, (to - from) as u8]);
        message.extend(&body[from..to]);
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
        datagram.extend((message.len() as u16).to_be_bytes());
        datagram.extend(message);
        datagram
    }

    #[test]
    fn gcm_is_found_behind_sha1_and_across_two_datagrams() {
        let body = hello(&[1, 2, 7]);
        assert_eq!(HelloReader::default().read(&datagram(&body, 0, body.len())), Hello::Gcm);
        for cut in 1..body.len() {
            let mut reader = HelloReader::default();
            assert_eq!(reader.read(&datagram(&body, cut, body.len())), Hello::Incomplete);
            assert_eq!(reader.read(&datagram(&body, 0, cut)), Hello::Gcm, "cut at {cut}");
        }
        let without = hello(&[1, 2]);
        assert_eq!(HelloReader::default().read(&datagram(&without, 0, without.len())), Hello::Other);
    }

    proptest! {
        #[test]
        fn nothing_from_the_network_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..80) {
            let mut reader = HelloReader::default();
            reader.read(&bytes);
            let body = hello(&[1, 7]);
            let mut real = datagram(&body, 0, body.len());
            real.truncate(real.len().saturating_sub(cut));
            bytes.truncate(real.len());
            for (at, byte) in bytes.iter().enumerate() { if byte % 5 == 0 { real[at] ^= byte; } }
            reader.read(&real);
        }
    }
}
