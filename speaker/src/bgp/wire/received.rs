//! Received UPDATEs: looked through, counted and forgotten.
//!
//! This node takes no routes, so nothing here is worth a session. RFC 7606 wants the session
//! reset where prefixes cannot be told apart, because a router would go on using routes that were
//! perhaps withdrawn. There are none here to go on using, and a reset would take away our own
//! announcements: every defect is treated as a withdrawal and counted.
//!
//! Nothing is handed to zettabgp.

use super::{Family, take, take_u8, take_u16};

/// What an UPDATE held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Prefixes announced; refused.
    pub announced: u16,
    /// Prefixes withdrawn.
    pub withdrawn: u16,
    /// It marks the end of the peer's first dump (RFC 4724).
    pub end_of_rib: Option<Family>,
    /// What is wrong with it, if anything: the first thing.
    pub defect: Option<Defect>,
}

/// What can be wrong with an UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The lengths of the parts exceed the message.
    Lengths,
    /// A prefix is longer than an address, or cut.
    Prefix,
    /// An attribute is cut.
    AttributeLength,
    /// An attribute has a length or value its type does not have.
    AttributeValue,
    /// A well-known attribute says that it is optional, or the other way round.
    AttributeFlags,
    /// An attribute comes twice.
    Duplicate,
    /// Prefixes are announced without an attribute every route has.
    Missing,
}

mod attribute {
    pub(super) const ORIGIN: u8 = 1;
    pub(super) const AS_PATH: u8 = 2;
    pub(super) const NEXT_HOP: u8 = 3;
    pub(super) const MED: u8 = 4;
    pub(super) const LOCAL_PREF: u8 = 5;
    pub(super) const ATOMIC_AGGREGATE: u8 = 6;
    pub(super) const COMMUNITIES: u8 = 8;
    pub(super) const MP_REACH: u8 = 14;
    pub(super) const MP_UNREACH: u8 = 15;
    pub(super) const LARGE_COMMUNITIES: u8 = 32;
}

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

impl Received {
    /// Looks through the body of an UPDATE. `as4`: AS numbers in AS_PATH have four bytes.
    pub(super) fn check(body: &[u8], as4: bool) -> Received {
        let mut received = Received::default();
        let mut seen = Seen::default();
        received.defect = received.walk(body, as4, &mut seen).err();
        received
    }

    fn walk(&mut self, mut body: &[u8], as4: bool, seen: &mut Seen) -> Result<(), Defect> {
        let withdrawn = part(&mut body).ok_or(Defect::Lengths)?;
        let mut attributes = part(&mut body).ok_or(Defect::Lengths)?;
        let (nothing, whole) = (body.is_empty() && withdrawn.is_empty(), attributes);
        self.withdrawn = prefixes(Family::Ipv4, withdrawn)?;
        while !attributes.is_empty() {
            self.attribute(&mut attributes, as4, seen)?;
        }
        let announced = prefixes(Family::Ipv4, body)?;
        self.announced = self.announced.saturating_add(announced);
        if self.announced > 0 && !seen.complete(announced > 0) {
            return Err(Defect::Missing);
        }
        if nothing && whole.is_empty() {
            self.end_of_rib = Some(Family::Ipv4);
        }
        Ok(())
    }

    fn attribute(&mut self, bytes: &mut &[u8], as4: bool, seen: &mut Seen) -> Result<(), Defect> {
        let flags = take_u8(bytes).ok_or(Defect::AttributeLength)?;
        let kind = take_u8(bytes).ok_or(Defect::AttributeLength)?;
        let length = if flags & EXTENDED_LENGTH == 0 {
            take_u8(bytes).map(usize::from)
        } else {
            take_u16(bytes).map(usize::from)
        };
        let value = length.and_then(|length| take(bytes, length)).ok_or(Defect::AttributeLength)?;
        if !seen.first(kind) {
            return Err(Defect::Duplicate);
        }
        if wanted_flags(kind).is_some_and(|wanted| flags & (OPTIONAL | TRANSITIVE) != wanted) {
            return Err(Defect::AttributeFlags);
        }
        match kind {
            attribute::MP_REACH => self.reach(value),
            attribute::MP_UNREACH => self.unreach(value, seen),
            _ if well_formed(kind, value, as4) => Ok(()),
            _ => Err(Defect::AttributeValue),
        }
    }

    /// AFI, SAFI, next hop, a reserved byte, prefixes (RFC 4760 section 3).
    fn reach(&mut self, mut value: &[u8]) -> Result<(), Defect> {
        let bytes = &mut value;
        let afi = take_u16(bytes).ok_or(Defect::AttributeValue)?;
        let safi = take_u8(bytes).ok_or(Defect::AttributeValue)?;
        let length = take_u8(bytes).ok_or(Defect::AttributeValue)?;
        take(bytes, usize::from(length)).ok_or(Defect::AttributeValue)?;
        take_u8(bytes).ok_or(Defect::AttributeValue)?;
        // Of a family that was not negotiated nothing is read.
        let Some(family) = Family::from_numbers(afi, safi) else { return Ok(()) };
        let fits = match family {
            Family::Ipv4 => matches!(length, 4 | 16 | 32),
            Family::Ipv6 => matches!(length, 16 | 32),
        };
        if !fits {
            return Err(Defect::AttributeValue);
        }
        self.announced = self.announced.saturating_add(prefixes(family, bytes)?);
        Ok(())
    }

    fn unreach(&mut self, mut value: &[u8], seen: &Seen) -> Result<(), Defect> {
        let bytes = &mut value;
        let afi = take_u16(bytes).ok_or(Defect::AttributeValue)?;
        let safi = take_u8(bytes).ok_or(Defect::AttributeValue)?;
        let Some(family) = Family::from_numbers(afi, safi) else { return Ok(()) };
        let withdrawn = prefixes(family, bytes)?;
        if withdrawn == 0 && seen.only(attribute::MP_UNREACH) {
            self.end_of_rib = Some(family);
        }
        self.withdrawn = self.withdrawn.saturating_add(withdrawn);
        Ok(())
    }
}

/// The attributes met so far, a bit for each type.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    /// Notes it; false if it was met before.
    fn first(&mut self, kind: u8) -> bool {
        let (word, bit) = (usize::from(kind / 64), 1 << (kind % 64));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn has(&self, kind: u8) -> bool {
        self.0[usize::from(kind / 64)] & (1 << (kind % 64)) != 0
    }

    fn only(&self, kind: u8) -> bool {
        self.has(kind) && self.0.iter().map(|word| word.count_ones()).sum::<u32>() == 1
    }

    /// Whether what every route has is there; `plain`: prefixes outside MP_REACH.
    fn complete(&self, plain: bool) -> bool {
        self.has(attribute::ORIGIN)
            && self.has(attribute::AS_PATH)
            && (!plain || self.has(attribute::NEXT_HOP))
    }
}

/// A part with two bytes of length before it.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u16(bytes)?;
    take(bytes, usize::from(length))
}

/// Counts prefixes: a byte of length in bits, then the bytes these take.
fn prefixes(family: Family, mut bytes: &[u8]) -> Result<u16, Defect> {
    let mut count = 0;
    while let Some(bits) = take_u8(&mut bytes) {
        if bits > family.bits() {
            return Err(Defect::Prefix);
        }
        take(&mut bytes, usize::from(bits.div_ceil(8))).ok_or(Defect::Prefix)?;
        count += 1;
    }
    Ok(count)
}

/// The optional and transitive bits of attributes that have them fixed.
fn wanted_flags(kind: u8) -> Option<u8> {
    match kind {
        attribute::ORIGIN
        | attribute::AS_PATH
        | attribute::NEXT_HOP
        | attribute::LOCAL_PREF
        | attribute::ATOMIC_AGGREGATE => Some(TRANSITIVE),
        attribute::MED | attribute::MP_REACH | attribute::MP_UNREACH => Some(OPTIONAL),
        attribute::COMMUNITIES | attribute::LARGE_COMMUNITIES => Some(OPTIONAL | TRANSITIVE),
        _ => None,
    }
}

/// Whether the value is one its type can have (RFC 7606 section 7). Unknown types can have any.
fn well_formed(kind: u8, value: &[u8], as4: bool) -> bool {
    match kind {
        attribute::ORIGIN => matches!(value, [0..=2]),
        attribute::AS_PATH => segments(value, if as4 { 4 } else { 2 }).is_some(),
        attribute::NEXT_HOP | attribute::MED | attribute::LOCAL_PREF => value.len() == 4,
        attribute::ATOMIC_AGGREGATE => value.is_empty(),
        attribute::COMMUNITIES => !value.is_empty() && value.len().is_multiple_of(4),
        attribute::LARGE_COMMUNITIES => !value.is_empty() && value.len().is_multiple_of(12),
        _ => true,
    }
}

/// Walks the segments of an AS_PATH: a type, a count, and that many numbers of `size` bytes.
fn segments(mut bytes: &[u8], size: usize) -> Option<()> {
    while let Some(kind) = take_u8(&mut bytes) {
        let count = usize::from(take_u8(&mut bytes)?);
        if count == 0 || !(1..=4).contains(&kind) {
            return None;
        }
        take(&mut bytes, count * size)?;
    }
    Some(())
}
