//! What FRR and BIRD said (`bgp_corpus/`, recorded by `bgp_lab`), message by message, and a source
//! of damage.

use std::path::Path;

use vipgate_speaker::bgp::wire::frame;

/// All captured messages, and some that no router would send.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bgp_corpus");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut messages = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let mut rest = bytes.as_slice();
        while let Some(found) = frame(rest).unwrap() {
            let length = found.length;
            messages.push(rest[..length].to_vec());
            rest = &rest[length..];
        }
        assert!(rest.is_empty(), "{} ends within a message", file.display());
    }
    messages.extend(nasty());
    messages
}

/// The least that hangs, aborts or panics zettabgp (see `bgp/wire/tests/zettabgp.rs`), and its kin.
fn nasty() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 9] = [
        // A stray byte in an AS_PATH.
        &[
            0, 0, 0, 20, 0x40, 1, 1, 0, 0x40, 2, 7, 2, 1, 0, 0, 0xfd, 0xe9, 0, 0x40, 3, 4, 10, 0,
            0, 1,
        ],
        // The head of an attribute is cut.
        &[0, 0, 0, 1, 0],
        // Half a community; a piece of a large one.
        &[0, 0, 0, 5, 0xc0, 8, 2, 0, 0],
        &[0, 0, 0, 6, 0xc0, 32, 3, 0, 0, 0],
        // MP_REACH without SAFI, with a next hop that is cut; MP_UNREACH without AFI.
        &[0, 0, 0, 5, 0x80, 14, 2, 0, 1],
        &[0, 0, 0, 8, 0x80, 14, 5, 0, 2, 1, 16, 0],
        &[0, 0, 0, 4, 0x80, 15, 1, 0],
        // An attribute set in an attribute set.
        &[0, 0, 0, 14, 0xc0, 128, 11, 0, 0, 0, 1, 0xc0, 128, 4, 0, 0, 0, 1],
        // A prefix of 255 bits.
        &[0, 1, 255, 0, 0],
    ];
    bodies.iter().map(|body| whole(2, body)).collect()
}

/// A message of this type.
pub(crate) fn whole(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    message.push(kind);
    message.extend(body);
    message
}

/// Damages messages, the same way each time.
pub(crate) struct Mutator {
    messages: Vec<Vec<u8>>,
    random: u64,
}

impl Mutator {
    pub(crate) fn new(seed: u64) -> Mutator {
        Mutator { messages: messages(), random: seed }
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % limit
    }

    /// A damaged message. Of ten, nine have a header that fits, so that the damage is seen by what
    /// lies behind it.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let chosen = self.below(self.messages.len());
        let mut message = self.messages[chosen].clone();
        for _ in 0..=self.below(4) {
            self.damage(&mut message);
        }
        message.truncate(4096);
        if message.len() >= 19 && self.below(10) > 0 {
            message[..16].fill(0xff);
            let length = u16::try_from(message.len()).unwrap();
            message[16..18].copy_from_slice(&length.to_be_bytes());
            message[18] = 1 + message[18].wrapping_sub(1) % 5;
        }
        message
    }

    /// A damaged message that a session takes for an UPDATE, whatever it was before.
    pub(crate) fn next_update(&mut self) -> Vec<u8> {
        let mut message = self.next();
        message.resize(message.len().max(23), 0);
        let length = u16::try_from(message.len()).unwrap();
        message[..16].fill(0xff);
        message[16..18].copy_from_slice(&length.to_be_bytes());
        message[18] = 2;
        message
    }

    fn damage(&mut self, message: &mut Vec<u8>) {
        let at = 19 + self.below(message.len().saturating_sub(18).max(1));
        let at = at.min(message.len());
        match self.below(7) {
            0 => {
                let byte = [0, 1, 0x7f, 0x80, 0xff][self.below(5)];
                set(message, at, byte);
            }
            1 => {
                let bit = 1 << self.below(8);
                let byte = message.get(at).copied().unwrap_or_default() ^ bit;
                set(message, at, byte);
            }
            2 => message.truncate(at),
            3 => {
                let byte = self.below(256) as u8;
                message.insert(at, byte);
            }
            4 if at < message.len() => {
                message.remove(at);
            }
            5 => {
                // A piece of another message.
                let other = self.below(self.messages.len());
                let piece = self.messages[other].clone();
                let from = self.below(piece.len());
                let to = (from + self.below(64)).min(piece.len());
                message.splice(at..at, piece[from..to].iter().copied());
            }
            _ => {
                // Twice the same, many times.
                let piece: Vec<u8> = message[at.min(message.len())..].to_vec();
                for _ in 0..self.below(8) {
                    message.extend(&piece);
                }
            }
        }
    }
}

fn set(message: &mut [u8], at: usize, byte: u8) {
    if let Some(place) = message.get_mut(at) {
        *place = byte;
    }
}
