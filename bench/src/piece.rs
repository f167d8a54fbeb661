//! What is sent again and again where sending is to cost nothing: a mebibyte that sendfile(2) takes from memory.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use anyhow::Result;
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
