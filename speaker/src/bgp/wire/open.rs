//! OPEN (RFC 4271 section 4.2) and its capabilities (RFC 5492).
//!
//! Composed here in full: zettabgp has no capability 5, writes capability 73 wrongly and cuts the
//! length of long lists. Read here up to a single capability, which it is given with its exact
//! bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use zettabgp::{BgpCapGR, BgpCapability};

use super::error::WireError;
use super::{AS_TRANS, Family, take, take_u8, take_u16, take_u32};

const VERSION: u8 = 4;
/// The optional parameter that holds capabilities.
const CAPABILITIES: u8 = 2;
/// In the place of a length and of a type: longer lengths follow (RFC 9072).
const EXTENDED: u8 = 255;

mod capability {
    pub(super) const MULTIPROTOCOL: u8 = 1;
    pub(super) const ROUTE_REFRESH: u8 = 2;
    pub(super) const EXTENDED_NEXT_HOP: u8 = 5;
    pub(super) const GRACEFUL_RESTART: u8 = 64;
    pub(super) const AS4: u8 = 65;
}

/// An OPEN, sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS number; with the capability `as4`, the one in it.
    pub asn: u32,
    /// Seconds; 0 is for ever.
    pub hold_time: u16,
    /// The sender's BGP identifier.
    pub router_id: Ipv4Addr,
    /// What else it can.
    pub capabilities: Capabilities,
}

/// The capabilities we know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Address families (RFC 4760). Nobody who names none speaks of others than IPv4.
    pub families: BTreeSet<Family>,
    /// AS numbers of four bytes (RFC 6793).
    pub as4: bool,
    /// ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// IPv4 prefixes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// RFC 4724.
    pub graceful_restart: Option<GracefulRestart>,
    /// Codes of those we do not know.
    pub others: BTreeSet<u8>,
}

/// The capability graceful restart (RFC 4724).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// The sender has just restarted and its routes are to be kept meanwhile.
    pub restarting: bool,
    /// Seconds its routes are to be kept without it; at most 4095.
    pub time: u16,
    /// Families, and whether their forwarding went on during the restart.
    pub families: BTreeMap<Family, bool>,
}

impl Open {
    /// The body of the message.
    pub(super) fn encode(&self) -> Vec<u8> {
        let asn = u16::try_from(self.asn).unwrap_or(AS_TRANS);
        let mut body = vec![VERSION];
        body.extend(asn.to_be_bytes());
        body.extend(self.hold_time.to_be_bytes());
        body.extend(self.router_id.octets());
        let capabilities = self.capabilities.encode(self.asn);
        if capabilities.is_empty() {
            body.push(0);
        } else {
            body.extend([length(&capabilities) + 2, CAPABILITIES, length(&capabilities)]);
            body.extend(capabilities);
        }
        body
    }

    pub(super) fn decode(mut body: &[u8]) -> Result<Open, WireError> {
        let bytes = &mut body;
        let version = take_u8(bytes).ok_or(CUT)?;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let asn = take_u16(bytes).ok_or(CUT)?;
        let hold_time = take_u16(bytes).ok_or(CUT)?;
        let router_id = Ipv4Addr::from(take_u32(bytes).ok_or(CUT)?);
        let (parameters, extended) = parameters(bytes).ok_or(CUT)?;
        if !bytes.is_empty() {
            return Err(WireError::Open("bytes are left after the optional parameters"));
        }
        let mut read = Reading { asn: u32::from(asn), capabilities: Capabilities::default() };
        read.parameters(parameters, extended)?;
        Ok(Open { asn: read.asn, hold_time, router_id, capabilities: read.capabilities })
    }
}

const CUT: WireError = WireError::Open("it ends too early");

/// The optional parameters, and whether theirs are the longer lengths.
fn parameters<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
    let length = take_u8(bytes)?;
    if length == EXTENDED && bytes.first() == Some(&EXTENDED) {
        take_u8(bytes)?;
        let length = take_u16(bytes)?;
        return Some((take(bytes, usize::from(length))?, true));
    }
    Some((take(bytes, usize::from(length))?, false))
}

/// What has been understood so far.
struct Reading {
    asn: u32,
    capabilities: Capabilities,
}

impl Reading {
    fn parameters(&mut self, mut bytes: &[u8], extended: bool) -> Result<(), WireError> {
        const MALFORMED: WireError = WireError::Open("an optional parameter is cut");
        let bytes = &mut bytes;
        while let Some(kind) = take_u8(bytes) {
            let length = if extended {
                take_u16(bytes).map(usize::from)
            } else {
                take_u8(bytes).map(usize::from)
            };
            let value = length.and_then(|length| take(bytes, length)).ok_or(MALFORMED)?;
            match kind {
                CAPABILITIES => self.capabilities(value)?,
                other => return Err(WireError::Parameter(other)),
            }
        }
        Ok(())
    }

    fn capabilities(&mut self, mut bytes: &[u8]) -> Result<(), WireError> {
        const MALFORMED: WireError = WireError::Open("a capability is cut");
        let bytes = &mut bytes;
        while !bytes.is_empty() {
            let length = usize::from(*bytes.get(1).ok_or(MALFORMED)?);
            let whole = take(bytes, length + 2).ok_or(MALFORMED)?;
            self.capability(whole)?;
        }
        Ok(())
    }

    /// One capability: code, length and exactly that many bytes.
    fn capability(&mut self, whole: &[u8]) -> Result<(), WireError> {
        let (code, value) = (whole[0], &whole[2..]);
        let known = &mut self.capabilities;
        match code {
            capability::MULTIPROTOCOL => {
                // Not by zettabgp: it takes a set reserved byte for another capability.
                let [high, low, _reserved, safi] = value.try_into().map_err(|_| LENGTH)?;
                let afi = u16::from_be_bytes([high, low]);
                known.families.extend(Family::from_numbers(afi, safi));
            }
            capability::EXTENDED_NEXT_HOP => {
                // Triples: AFI and SAFI of the prefixes (two bytes each), AFI of the next hop.
                known.extended_next_hop |= value.chunks_exact(6).any(|c| c == [0, 1, 0, 1, 0, 2]);
            }
            capability::ROUTE_REFRESH | capability::GRACEFUL_RESTART | capability::AS4 => {
                match BgpCapability::from_buffer(whole) {
                    Ok((Ok(read), _)) => self.take(read),
                    _ => return Err(LENGTH),
                }
            }
            other => {
                known.others.insert(other);
            }
        }
        Ok(())
    }

    fn take(&mut self, read: BgpCapability) {
        let known = &mut self.capabilities;
        match read {
            BgpCapability::CapRR => known.route_refresh = true,
            BgpCapability::CapASN32(asn) => {
                known.as4 = true;
                self.asn = asn;
            }
            BgpCapability::CapGR { restart_time, restart_state, afis } => {
                let ours = |one: BgpCapGR| {
                    let family = Family::from_numbers(one.afi, one.safi)?;
                    Some((family, one.forwarding_state))
                };
                known.graceful_restart = Some(GracefulRestart {
                    restarting: restart_state,
                    time: restart_time,
                    families: afis.into_iter().filter_map(ours).collect(),
                });
            }
            _ => {}
        }
    }
}

const LENGTH: WireError = WireError::Open("a capability has the wrong length");

impl Capabilities {
    fn encode(&self, asn: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut add = |code: u8, value: &[u8]| {
            bytes.extend([code, length(value)]);
            bytes.extend(value);
        };
        for family in &self.families {
            let [high, low] = family.afi().to_be_bytes();
            add(capability::MULTIPROTOCOL, &[high, low, 0, 1]);
        }
        if self.route_refresh {
            add(capability::ROUTE_REFRESH, &[]);
        }
        if self.extended_next_hop {
            add(capability::EXTENDED_NEXT_HOP, &[0, 1, 0, 1, 0, 2]);
        }
        if let Some(restart) = &self.graceful_restart {
            add(capability::GRACEFUL_RESTART, &restart.encode());
        }
        if self.as4 {
            add(capability::AS4, &asn.to_be_bytes());
        }
        bytes
    }
}

impl GracefulRestart {
    fn encode(&self) -> Vec<u8> {
        let restarting = if self.restarting { 0x8000 } else { 0 };
        let mut value = (restarting | self.time.min(0x0fff)).to_be_bytes().to_vec();
        for (family, forwarding) in &self.families {
            let [high, low] = family.afi().to_be_bytes();
            value.extend([high, low, 1, if *forwarding { 0x80 } else { 0 }]);
        }
        value
    }
}

/// Of a value with at most two families: some tens of bytes.
fn length(value: &[u8]) -> u8 {
    u8::try_from(value.len()).expect("our capabilities take less than 100 bytes")
}
