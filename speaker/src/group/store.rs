//! What each member says of itself, known to all: small values under short keys.
//!
//! State: a record per member. A record belongs to the member that writes it; every entry carries
//! the version at which it was written, and a deleted one stays as a mark, so what changed between
//! two versions can be sent alone (as Scuttlebutt does). Pieces are sent in the order of their versions and
//! taken only when they join on to what is known, so a record is never seen half-way out of order.
//!
//! How it travels: changes are pushed to every live member at once; every datagram carries the stamp
//! of its sender's record, and whoever sees that it is behind asks; and twice a second a summary goes
//! to one member at random, so that two which cannot talk directly learn of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::codec::{
    CodecError, put_address, put_bytes, take_address, take_bytes, take_u8, take_u64,
};
use super::wire::{MAX_PAYLOAD, Stamp};

/// Bytes of a key and its value together.
pub const MAX_ENTRY: usize = 900;
/// Members in a summary.
const SUMMARY: usize = 36;
/// Pieces that one message makes us send.
const MOST_PIECES: usize = 64;
/// Marks of deleted entries, above which a record begins anew.
const MOST_MARKS: usize = 4096;
/// Records of members that are gone.
const MOST_RECORDS: usize = 512;

/// What members tell each other about records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A piece of a record.
    Piece(Piece),
    /// What the sender has of some records; an answer is wanted.
    Summary(Vec<(SocketAddr, Stamp)>),
    /// Records that the sender wants from these stamps on.
    Wanted(Vec<(SocketAddr, Stamp)>),
}

/// What changed in a record between two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    of: SocketAddr,
    generation: u64,
    /// Changes after this version…
    after: u64,
    /// … up to this one.
    upto: u64,
    /// Version, key, and value; no value: deleted.
    entries: Vec<(u64, Vec<u8>, Option<Vec<u8>>)>,
}

impl Message {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_PAYLOAD);
        match self {
            Self::Piece(piece) => {
                out.push(1);
                put_address(piece.of, &mut out);
                for number in [piece.generation, piece.after, piece.upto] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
                for (version, key, value) in &piece.entries {
                    out.extend_from_slice(&version.to_be_bytes());
                    put_bytes(key, &mut out);
                    out.push(u8::from(value.is_some()));
                    put_bytes(value.as_deref().unwrap_or_default(), &mut out);
                }
            }
            Self::Summary(stamps) => {
                out.push(2);
                put_stamps(stamps, &mut out);
            }
            Self::Wanted(stamps) => {
                out.push(3);
                put_stamps(stamps, &mut out);
            }
        }
        out
    }

    /// Reads bytes, all of them.
    pub fn from_bytes(mut from: &[u8]) -> Result<Self, CodecError> {
        let from = &mut from;
        match take_u8(from)? {
            1 => {
                let of = take_address(from)?;
                let (generation, after, upto) = (take_u64(from)?, take_u64(from)?, take_u64(from)?);
                let mut entries = Vec::new();
                while !from.is_empty() {
                    let (version, key) = (take_u64(from)?, take_bytes(from)?);
                    let there = take_u8(from)?;
                    let value = take_bytes(from)?;
                    entries.push((version, key, (there != 0).then_some(value)));
                }
                Ok(Self::Piece(Piece { of, generation, after, upto, entries }))
            }
            2 => take_stamps(from).map(Self::Summary),
            3 => take_stamps(from).map(Self::Wanted),
            other => Err(CodecError::Unknown(other)),
        }
    }
}

fn put_stamps(stamps: &[(SocketAddr, Stamp)], out: &mut Vec<u8>) {
    for (member, stamp) in stamps {
        put_address(*member, out);
        out.extend_from_slice(&stamp.generation.to_be_bytes());
        out.extend_from_slice(&stamp.version.to_be_bytes());
    }
}

fn take_stamps(from: &mut &[u8]) -> Result<Vec<(SocketAddr, Stamp)>, CodecError> {
    let mut stamps = Vec::new();
    while !from.is_empty() {
        let member = take_address(from)?;
        let (generation, version) = (take_u64(from)?, take_u64(from)?);
        stamps.push((member, Stamp { generation, version }));
    }
    Ok(stamps)
}

/// A record.
#[derive(Clone, Debug, Default)]
struct Record {
    stamp: Stamp,
    entries: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    by_version: BTreeMap<u64, Vec<u8>>,
}

impl Record {
    fn put(&mut self, version: u64, key: Vec<u8>, value: Option<Vec<u8>>) {
        if let Some((former, _)) = self.entries.insert(key.clone(), (version, value)) {
            self.by_version.remove(&former);
        }
        self.by_version.insert(version, key);
        self.stamp.version = self.stamp.version.max(version);
    }

    /// The changes after a version, in pieces that fit a payload.
    fn pieces(&self, of: SocketAddr, after: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let empty = |after| Piece {
            of,
            generation: self.stamp.generation,
            after,
            upto: after,
            entries: Vec::new(),
        };
        let (mut piece, mut size) = (empty(after), 0);
        for (version, key) in self.by_version.range(after + 1..) {
            let value = self.entries.get(key).and_then(|(_, value)| value.clone());
            let more = key.len() + value.as_ref().map_or(0, Vec::len) + 16;
            if size + more > MAX_PAYLOAD - 80 && !piece.entries.is_empty() {
                let next = empty(piece.upto);
                pieces.push(std::mem::replace(&mut piece, next));
                size = 0;
            }
            size += more;
            piece.upto = *version;
            piece.entries.push((*version, key.clone(), value));
        }
        // The last one says where the record stands, also when it is empty.
        piece.upto = self.stamp.version;
        pieces.push(piece);
        pieces
    }
}

/// All records.
#[derive(Clone, Debug)]
pub struct Store {
    me: SocketAddr,
    records: BTreeMap<SocketAddr, Record>,
    /// Of our own: pushed up to here.
    pushed: u64,
}

impl Store {
    /// With an empty record of our own.
    pub fn new(me: SocketAddr, generation: u64) -> Self {
        let stamp = Stamp { generation, version: 0 };
        let own = Record { stamp, ..Record::default() };
        Self { me, records: [(me, own)].into(), pushed: 0 }
    }

    /// Where our record stands.
    pub fn stamp(&self) -> Stamp {
        self.records[&self.me].stamp
    }

    /// Where that of a member stands, as far as it is known.
    pub fn stamp_of(&self, member: SocketAddr) -> Option<Stamp> {
        self.records.get(&member).map(|record| record.stamp)
    }

    /// What a member says.
    pub fn entries(&self, member: SocketAddr) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.get(&member).into_iter().flat_map(|record| {
            record
                .entries
                .iter()
                .filter_map(|(key, (_, value))| Some((key.as_slice(), value.as_deref()?)))
        })
    }

    /// Says something of ourselves, or takes it back; whether that is new.
    pub fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) -> bool {
        debug_assert!(key.len() + value.as_ref().map_or(0, Vec::len) <= MAX_ENTRY);
        let own = self.own();
        let now = own.entries.get(key).and_then(|(_, value)| value.as_ref());
        if now == value.as_ref() {
            return false;
        }
        own.put(own.stamp.version + 1, key.to_vec(), value);
        if own.entries.len() > MOST_MARKS
            && own.entries.values().filter(|(_, value)| value.is_none()).count() > MOST_MARKS / 2
        {
            let generation = own.stamp.generation + 1;
            self.renew(generation);
        }
        true
    }

    /// Begins our record anew under a larger generation, with what it says now.
    pub fn renew(&mut self, generation: u64) {
        let own = self.own();
        let generation = generation.max(own.stamp.generation + 1);
        let former = std::mem::take(own);
        own.stamp = Stamp { generation, version: 0 };
        for (key, (_, value)) in former.entries {
            if value.is_some() {
                own.put(own.stamp.version + 1, key, value);
            }
        }
        self.pushed = 0;
    }

    /// What was not pushed yet.
    pub fn push(&mut self) -> Vec<Message> {
        let own = &self.records[&self.me];
        if own.stamp.version == self.pushed {
            return Vec::new();
        }
        let pieces = own.pieces(self.me, self.pushed);
        self.pushed = own.stamp.version;
        pieces.into_iter().map(Message::Piece).collect()
    }

    /// Everything of ours, for a member that is new.
    pub fn whole(&self) -> Vec<Message> {
        self.records[&self.me].pieces(self.me, 0).into_iter().map(Message::Piece).collect()
    }

    /// What to ask for when a member is seen to stand there; nothing when we know as much.
    pub fn behind(&self, member: SocketAddr, stamp: Stamp) -> Option<Message> {
        let known = self.stamp_of(member).unwrap_or_default();
        (stamp > known).then(|| Message::Wanted(vec![(member, known)]))
    }

    /// What we have of some records: our own, and others by the given order.
    pub fn summary(&self, mut order: impl FnMut(&mut Vec<SocketAddr>)) -> Message {
        let mut others: Vec<SocketAddr> = self.records.keys().copied().collect();
        others.retain(|address| *address != self.me);
        order(&mut others);
        others.truncate(SUMMARY);
        others.push(self.me);
        let stamp = |address: SocketAddr| (address, self.records[&address].stamp);
        Message::Summary(others.into_iter().map(stamp).collect())
    }

    /// Takes in a message; what to answer, and whether a record changed.
    pub fn receive(&mut self, message: Message) -> (Vec<Message>, bool) {
        match message {
            Message::Piece(piece) => (Vec::new(), self.take(piece)),
            Message::Wanted(wanted) => (self.have(&wanted), false),
            Message::Summary(summary) => {
                let mut answers = self.have(&summary);
                let wanted: Vec<(SocketAddr, Stamp)> = summary
                    .into_iter()
                    .filter(|(member, _)| *member != self.me)
                    .map(|(member, stamp)| (member, stamp, self.stamp_of(member)))
                    .filter(|(_, stamp, known)| *stamp > known.unwrap_or_default())
                    .map(|(member, _, known)| (member, known.unwrap_or_default()))
                    .collect();
                if !wanted.is_empty() {
                    answers.push(Message::Wanted(wanted));
                }
                (answers, false)
            }
        }
    }

    /// Forgets members that are gone, when there are too many records.
    pub fn forget(&mut self, alive: &BTreeSet<SocketAddr>) {
        if self.records.len() > MOST_RECORDS {
            let me = self.me;
            self.records.retain(|member, _| *member == me || alive.contains(member));
        }
    }

    /// What we have above these stamps.
    fn have(&self, stamps: &[(SocketAddr, Stamp)]) -> Vec<Message> {
        let mut pieces = Vec::new();
        for (member, stamp) in stamps {
            let Some(record) = self.records.get(member).filter(|record| record.stamp > *stamp)
            else {
                continue;
            };
            let same = record.stamp.generation == stamp.generation;
            pieces.extend(record.pieces(*member, if same { stamp.version } else { 0 }));
        }
        pieces.truncate(MOST_PIECES);
        pieces.into_iter().map(Message::Piece).collect()
    }

    fn take(&mut self, piece: Piece) -> bool {
        if piece.of == self.me {
            return false;
        }
        let known = self.stamp_of(piece.of);
        let joins = match known {
            Some(known) if known.generation == piece.generation => {
                piece.after <= known.version && piece.upto > known.version
            }
            Some(known) => piece.generation > known.generation && piece.after == 0,
            None => piece.after == 0,
        };
        if !joins {
            return false;
        }
        let record = self.records.entry(piece.of).or_default();
        if record.stamp.generation != piece.generation {
            *record = Record::default();
            record.stamp.generation = piece.generation;
        }
        let from = record.stamp.version;
        for (version, key, value) in piece.entries {
            if version > from && version <= piece.upto {
                record.put(version, key, value);
            }
        }
        record.stamp.version = piece.upto;
        true
    }

    fn own(&mut self) -> &mut Record {
        self.records.get_mut(&self.me).expect("our record is there from the beginning")
    }
}
