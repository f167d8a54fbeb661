//! What is sent again and again where sending is to cost nothing: a mebibyte that sendfile(2) takes from memory. And how
//! it is looked at where that is possible.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Result, ensure};
use rustix::fs::{MemfdFlags, memfd_create, sendfile};

/// Every byte of it, where nothing else is said.
pub(crate) const FILL: u8 = 0x5a;
/// Its length.
const LENGTH: usize = 1 << 20;
/// A record of TLS that carries data, with its head: the most that is allowed is a little over 16 KiB.
const RECORD: usize = 16 * 1024;

/// See the module.
pub(crate) struct Piece(File);

impl Piece {
    /// Bytes, all the same.
    pub(crate) fn of_bytes() -> Result<Self> {
        Self::new(&vec![FILL; LENGTH])
    }

    /// Records as TLS 1.3 has them (RFC 8446, 5.2). What is in them nobody on the way can tell from what is encrypted.
    pub(crate) fn of_records() -> Result<Self> {
        const DATA: u8 = 23;
        let mut record = vec![FILL; RECORD];
        let [high, low] = ((RECORD - 5) as u16).to_be_bytes();
        record[..5].copy_from_slice(&[DATA, 3, 3, high, low]);
        Self::new(&record.repeat(LENGTH / RECORD))
    }

    fn new(bytes: &[u8]) -> Result<Self> {
        let mut file = File::from(memfd_create("piece", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        Ok(Self(file))
    }

    /// Sends it until a time; says how many bytes that was.
    pub(crate) fn send(&self, stream: &TcpStream, until: Instant) -> Result<u64> {
        let mut sent = 0;
        while Instant::now() < until {
            let mut offset = 0;
            while offset < LENGTH as u64 {
                let count = LENGTH - usize::try_from(offset)?;
                sent += sendfile(stream, &self.0, Some(&mut offset), count)? as u64;
            }
        }
        Ok(sent)
    }
}

/// What arrived: the same byte again and again, then how often as eight bytes, of which the first is none of them.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Of those, how many.
    pub(crate) bytes: u64,
    total: Vec<u8>,
}

impl Arrived {
    /// Looks at what came next.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) -> Result<()> {
        const FILLED: [u8; 1 << 14] = [FILL; 1 << 14];
        if self.total.is_empty() {
            let same = match bytes.len() <= FILLED.len() && bytes == &FILLED[..bytes.len()] {
                true => bytes.len(),
                false => bytes.iter().take_while(|byte| **byte == FILL).count(),
            };
            self.bytes += same as u64;
            bytes = &bytes[same..];
        }
        self.total.extend_from_slice(bytes);
        ensure!(self.total.len() <= 8, "other bytes than were sent");
        Ok(())
    }

    /// What was sent, when that is known.
    pub(crate) fn total(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.total.as_slice().try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_byte_is_not_taken_for_what_was_sent() {
        let mut arrived = Arrived::default();
        arrived.add(&[FILL; 300]).unwrap();
        arrived.add(&[FILL; 20_000]).unwrap();
        assert_eq!(arrived.total(), None);
        let last = [&[FILL; 5][..], &20_305_u64.to_be_bytes()].concat();
        arrived.add(&last[..9]).unwrap();
        assert_eq!(arrived.total(), None);
        arrived.add(&last[9..]).unwrap();
        assert_eq!((arrived.total(), arrived.bytes), (Some(20_305), 20_305));

        let mut spoilt = [FILL; 300];
        spoilt[100] = 0;
        assert!(Arrived::default().add(&spoilt).is_err());
    }
}
