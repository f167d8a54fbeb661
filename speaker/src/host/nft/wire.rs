//! Bytes of nfnetlink: messages, nested attributes and batches out, acknowledgements and
//! notifications in.
//!
//! Pure. What is written is always padded to four bytes, as netlink requires; what is read is
//! checked against its own lengths, so a cut or lying message ends the iteration and never panics.
//! Formats: `linux/netlink.h`, `linux/netfilter/nfnetlink.h`.

use std::io;
use std::ops::Range;

use rustix::io::Errno;

/// Length of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Length of `struct nfgenmsg`.
const GENMSG_LEN: usize = 4;
/// Length of `struct nlattr`.
const ATTRIBUTE_LEN: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u8 = 10;

const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_ACK: u16 = 0x004;
/// Answer with all there are.
const NLM_F_DUMP: u16 = 0x300;
/// Make the object if it is not there.
pub(super) const NLM_F_CREATE: u16 = 0x400;
/// Put the rule after those of the chain.
pub(super) const NLM_F_APPEND: u16 = 0x800;
/// The acknowledgement carries only the header of the request.
const NLM_F_CAPPED: u16 = 0x100;
/// The acknowledgement carries attributes that explain it.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Attributes being written, at the end of a message or of a nest.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// Raw bytes.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.sized(kind, |out| out.extend_from_slice(value));
    }

    /// A string with its closing zero byte.
    pub(super) fn string(&mut self, kind: u16, value: &str) {
        self.sized(kind, |out| {
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        });
    }

    /// A number; nftables has all of them in network byte order.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Attributes within an attribute.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.sized(kind | NLA_F_NESTED, |out| fill(&mut Attributes(out)));
    }

    /// The length is known only after `fill` ran, so it is written last; padding does not count.
    fn sized(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self.0);
        let len = u16::try_from(self.0.len() - start)
            .expect("callers chunk lists so that no attribute passes 64 KiB");
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// A transaction: the kernel applies all of its messages or none.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where the last message lies; it alone asks for an acknowledgement.
    last: Range<usize>,
    sequence: u32,
}

impl Batch {
    /// An empty transaction whose messages are numbered from `sequence`.
    pub(super) fn new(sequence: u32) -> Self {
        let mut batch = Self { bytes: Vec::new(), last: 0..0, sequence };
        batch.write(NFNL_MSG_BATCH_BEGIN, 0, 0, u16::from(NFNL_SUBSYS_NFTABLES), |_| {});
        batch
    }

    /// Adds one nftables message (`NFT_MSG_*`) for a table of `family`.
    pub(super) fn message(
        &mut self,
        kind: u8,
        flags: u16,
        family: u8,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let kind = u16::from(NFNL_SUBSYS_NFTABLES) << 8 | u16::from(kind);
        self.write(kind, flags, family, 0, fill);
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished transaction, and the sequence number whose acknowledgement says that it holds.
    pub(super) fn finish(mut self) -> (Vec<u8>, u32) {
        let (at, sequence) = (self.last.start + 6, self.sequence.wrapping_sub(1));
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | NLM_F_ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
        self.write(NFNL_MSG_BATCH_END, 0, 0, u16::from(NFNL_SUBSYS_NFTABLES), |_| {});
        (self.bytes, sequence)
    }

    fn write(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        resource: u16,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        // Port 0: the kernel fills in the sender.
        self.bytes.extend_from_slice(&[0; 4]);
        // struct nfgenmsg: family, version 0, resource id in network byte order.
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        fill(&mut Attributes(&mut self.bytes));
        let len = u32::try_from(self.bytes.len() - start).expect("a message is far below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        self.last = start..self.bytes.len();
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// The request for all chains of all families. It is no part of a transaction.
pub(super) fn dump_of_chains(sequence: u32) -> Vec<u8> {
    let mut request = Batch { bytes: Vec::new(), last: 0..0, sequence };
    request.message(NFT_MSG_GETCHAIN, NLM_F_DUMP, 0, |_| {});
    request.bytes
}

/// One message as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received<'a> {
    kind: u16,
    flags: u16,
    /// Number of the request that it answers or was caused by.
    pub(super) sequence: u32,
    body: &'a [u8],
}

/// What the kernel says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Absent: it holds.
    pub(super) error: Option<Errno>,
    /// The kernel's own words, where it has any.
    pub(super) text: String,
}

/// The messages of one datagram.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let header = datagram.get(..HEADER_LEN)?;
        let len = usize::try_from(u32_at(header, 0)?).ok()?;
        let body = datagram.get(HEADER_LEN..len)?;
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Received {
            kind: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
            body,
        })
    })
}

/// The attributes of a message or nest: kind without its flag bits, and value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(ATTRIBUTE_LEN..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

impl<'a> Received<'a> {
    /// The answer to a request, if this is one.
    pub(super) fn answer(&self) -> Option<Answer> {
        if self.kind != NLMSG_ERROR {
            return None;
        }
        // The error, then the header of the request, then its body unless capped, then attributes.
        let code = i32::from_ne_bytes(self.body.get(..4)?.try_into().ok()?);
        let request = usize::try_from(u32_at(self.body, 4)?).ok()?;
        let echoed = if self.flags & NLM_F_CAPPED == 0 { request } else { HEADER_LEN };
        let text = (self.flags & NLM_F_ACK_TLVS != 0)
            .then(|| self.body.get(4_usize.checked_add(echoed)?.checked_next_multiple_of(4)?..))
            .flatten()
            .and_then(|explained| {
                attributes(explained).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
            })
            .map(|(_, text)| string(text))
            .unwrap_or_default();
        let error = (code != 0).then(|| errno(code));
        Some(Answer { error, text })
    }

    /// The table of a chain of type `nat` that is shown or was made.
    pub(super) fn nat_chain(&self) -> Option<String> {
        if self.nftables_kind()? != NFT_MSG_NEWCHAIN {
            return None;
        }
        let said = || attributes(self.body.get(GENMSG_LEN..).unwrap_or_default());
        // NFTA_CHAIN_TYPE and NFTA_CHAIN_TABLE.
        let (_, kind) = said().find(|(kind, _)| *kind == 7)?;
        let (_, table) = said().find(|(kind, _)| *kind == 1)?;
        (string(kind) == "nat").then(|| string(table))
    }

    /// `NFT_MSG_*`, of an nftables message.
    fn nftables_kind(&self) -> Option<u8> {
        let [low, high] = self.kind.to_le_bytes();
        (high == NFNL_SUBSYS_NFTABLES).then_some(low)
    }

    /// The family and table that an nftables notification is about.
    pub(super) fn table(&self) -> Option<(u8, String)> {
        if self.nftables_kind()? == NFT_MSG_NEWGEN {
            return None;
        }
        let family = *self.body.first()?;
        // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE and
        // NFTA_SET_ELEM_LIST_TABLE all are attribute 1.
        let (_, name) = attributes(self.body.get(GENMSG_LEN..)?).find(|(kind, _)| *kind == 1)?;
        Some((family, string(name)))
    }
}

const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_GETCHAIN: u8 = 4;
/// A new generation of the rule set; it names no table.
const NFT_MSG_NEWGEN: u8 = 15;

/// The kernel gives negative numbers below 4096; anything else is no errno.
fn errno(code: i32) -> Errno {
    let error = io::Error::from_raw_os_error(code.saturating_neg());
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
