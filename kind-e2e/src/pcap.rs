//! The pcap savefile format (pcap-savefile(5)), as tcpdump writes it to a pipe.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::Frame;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const ETHERNET: u32 = 1;
/// Largest record that makes sense: tcpdump's snapshot length.
const LONGEST: usize = 262_144;

/// The complete frames at the beginning of `bytes`; a record cut off at the end is left out.
///
/// # Errors
/// When it is not a capture of Ethernet frames with microseconds in this host's byte order.
pub(crate) fn frames(bytes: &[u8]) -> Result<Vec<Frame>> {
    if bytes.len() < FILE_HEADER {
        return Ok(vec![]);
    }
    let (header, mut rest) = bytes.split_at(FILE_HEADER);
    ensure!(word(header, 0) == 0xa1b2_c3d4, "not a pcap file with microseconds");
    ensure!(word(header, 20) & 0xffff == ETHERNET, "not a capture of Ethernet frames");
    let mut frames = Vec::new();
    while let Some((record, after)) = rest.split_at_checked(RECORD_HEADER) {
        let length = word(record, 8) as usize;
        if length > LONGEST {
            bail!("a record of {length} octets: the capture is damaged");
        }
        let Some((frame, after)) = after.split_at_checked(length) else { break };
        let (seconds, micros) = (word(record, 0), word(record, 4));
        let at = Duration::from_secs(seconds.into()) + Duration::from_micros(micros.into());
        frames.push(Frame { at, bytes: frame.to_vec() });
        rest = after;
    }
    Ok(frames)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four octets"))
}

#[cfg(test)]
mod tests;
