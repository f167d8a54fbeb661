//! Bytes of what members tell each other: SWIM's messages, and records.
//!
//! Big-endian integers of fixed width, lengths before what varies, no padding. Reading is total: every
//! sequence of bytes is a value or an error, and no length in it makes room before the bytes are there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};
use thiserror::Error;

use super::swim::MemberId;

/// Why bytes are no value, or a value does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// They end too early.
    #[error("the bytes end too early")]
    Short,
    /// One of them says what is not known.
    #[error("byte {0} says nothing here")]
    Unknown(u8),
    /// No room.
    #[error("no room left")]
    Full,
}

type Result<T> = std::result::Result<T, CodecError>;

/// Reads from the front of bytes.
pub(super) fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = from.split_first_chunk::<N>().ok_or(CodecError::Short)?;
    *from = tail;
    Ok(*head)
}

pub(super) fn take_u8(from: &mut &[u8]) -> Result<u8> {
    take(from).map(u8::from_be_bytes)
}

pub(super) fn take_u16(from: &mut &[u8]) -> Result<u16> {
    take(from).map(u16::from_be_bytes)
}

pub(super) fn take_u64(from: &mut &[u8]) -> Result<u64> {
    take(from).map(u64::from_be_bytes)
}

/// Bytes with their length before them.
pub(super) fn take_bytes(from: &mut &[u8]) -> Result<Vec<u8>> {
    let length = usize::from(take_u16(from)?);
    let (head, tail) = from.split_at_checked(length).ok_or(CodecError::Short)?;
    *from = tail;
    Ok(head.to_vec())
}

pub(super) fn take_address(from: &mut &[u8]) -> Result<SocketAddr> {
    let ip = match take_u8(from)? {
        4 => IpAddr::from(Ipv4Addr::from(take::<4>(from)?)),
        6 => IpAddr::from(Ipv6Addr::from(take::<16>(from)?)),
        other => return Err(CodecError::Unknown(other)),
    };
    Ok(SocketAddr::new(ip, take_u16(from)?))
}

/// At most 65,535 bytes, with their length before them.
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).expect("entries are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn put_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// How foca's messages are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct SwimCodec;

impl Codec<MemberId> for SwimCodec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<MemberId>, buf: impl BufMut) -> Result<()> {
        let mut out = Vec::with_capacity(96);
        put_id(&header.src, &mut out);
        out.extend_from_slice(&header.src_incarnation.to_be_bytes());
        put_id(&header.dst, &mut out);
        put_message(&header.message, &mut out);
        put_all(&out, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<MemberId>> {
        with(buf, |from| {
            Ok(Header {
                src: take_id(from)?,
                src_incarnation: take_u16(from)?,
                dst: take_id(from)?,
                message: take_message(from)?,
            })
        })
    }

    fn encode_member(&mut self, member: &Member<MemberId>, buf: impl BufMut) -> Result<()> {
        let mut out = Vec::with_capacity(32);
        put_id(member.id(), &mut out);
        out.extend_from_slice(&member.incarnation().to_be_bytes());
        out.push(match member.state() {
            State::Alive => 1,
            State::Suspect => 2,
            State::Down => 3,
        });
        put_all(&out, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<MemberId>> {
        with(buf, |from| {
            let (id, incarnation) = (take_id(from)?, take_u16(from)?);
            let state = match take_u8(from)? {
                1 => State::Alive,
                2 => State::Suspect,
                3 => State::Down,
                other => return Err(CodecError::Unknown(other)),
            };
            Ok(Member::new(id, incarnation, state))
        })
    }
}

fn put_all(bytes: &[u8], mut buf: impl BufMut) -> Result<()> {
    if buf.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    buf.put_slice(bytes);
    Ok(())
}

/// Reads from foca's buffers, which are in one piece.
fn with<T>(mut buf: impl Buf, read: impl FnOnce(&mut &[u8]) -> Result<T>) -> Result<T> {
    let whole = buf.chunk();
    let mut from = whole;
    let value = read(&mut from)?;
    let used = whole.len() - from.len();
    buf.advance(used);
    Ok(value)
}

fn put_id(id: &MemberId, out: &mut Vec<u8>) {
    put_address(id.address, out);
    out.extend_from_slice(&id.epoch.to_be_bytes());
    out.push(id.step);
}

fn take_id(from: &mut &[u8]) -> Result<MemberId> {
    Ok(MemberId { address: take_address(from)?, epoch: take_u64(from)?, step: take_u8(from)? })
}

fn put_message(message: &Message<MemberId>, out: &mut Vec<u8>) {
    let mut about = |kind: u8, other: &MemberId, number: u8| {
        out.push(kind);
        put_id(other, out);
        out.push(number);
    };
    match message {
        Message::PingReq { target, probe_number } => about(3, target, *probe_number),
        Message::IndirectPing { origin, probe_number } => about(4, origin, *probe_number),
        Message::IndirectAck { target, probe_number } => about(5, target, *probe_number),
        Message::ForwardedAck { origin, probe_number } => about(6, origin, *probe_number),
        Message::Ping(number) => out.extend_from_slice(&[1, *number]),
        Message::Ack(number) => out.extend_from_slice(&[2, *number]),
        Message::Announce => out.push(7),
        Message::Feed => out.push(8),
        Message::Gossip => out.push(9),
        Message::Broadcast => out.push(10),
        Message::TurnUndead => out.push(11),
    }
}

fn take_message(from: &mut &[u8]) -> Result<Message<MemberId>> {
    Ok(match take_u8(from)? {
        1 => Message::Ping(take_u8(from)?),
        2 => Message::Ack(take_u8(from)?),
        3 => Message::PingReq { target: take_id(from)?, probe_number: take_u8(from)? },
        4 => Message::IndirectPing { origin: take_id(from)?, probe_number: take_u8(from)? },
        5 => Message::IndirectAck { target: take_id(from)?, probe_number: take_u8(from)? },
        6 => Message::ForwardedAck { origin: take_id(from)?, probe_number: take_u8(from)? },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::Broadcast,
        11 => Message::TurnUndead,
        other => return Err(CodecError::Unknown(other)),
    })
}
