//! What an epoll event belongs to, packed into its 64 bits of user data.
//!
//! A connection's token carries a generation: when a connection ends and its slot is used again
//! within one batch of events, the events that are left over from the old one match nothing.

use rustix::event::epoll::EventData;

/// A connection of this worker: its slot, and which of the slot's users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who connected to the listener.
    Client,
    /// The endpoint we connected to.
    Server,
}

/// Source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The table changed.
    Wake,
    /// A listening socket, by the port's number in the table.
    Port(u32),
    /// One socket of a connection.
    Connection(ConnectionId, Side),
}

const KIND_SHIFT: u32 = 62;
const GENERATION_SHIFT: u32 = 32;
/// Generations wrap here, so that they fit beside the kind.
const GENERATION_MASK: u32 = (1 << (KIND_SHIFT - GENERATION_SHIFT)) - 1;

impl ConnectionId {
    /// The id of the user of `slot` after `generation` connections of this worker.
    pub(super) fn new(slot: usize, generation: u32) -> Self {
        let slot = u32::try_from(slot).expect("a process has fewer than 2^32 files");
        Self { slot, generation: generation & GENERATION_MASK }
    }
}

impl Token {
    /// As epoll user data.
    pub(super) fn data(self) -> EventData {
        let bits = match self {
            Self::Connection(id, side) => {
                let kind = match side {
                    Side::Client => 0,
                    Side::Server => 1,
                };
                (kind << KIND_SHIFT)
                    | (u64::from(id.generation) << GENERATION_SHIFT)
                    | u64::from(id.slot)
            }
            Self::Port(slot) => (2 << KIND_SHIFT) | u64::from(slot),
            Self::Wake => 3 << KIND_SHIFT,
        };
        EventData::new_u64(bits)
    }

    /// From epoll user data.
    #[allow(clippy::cast_possible_truncation, reason = "cuts the fields out of the 64 bits")]
    pub(super) fn from_data(data: EventData) -> Self {
        let bits = data.u64();
        let slot = bits as u32;
        let generation = (bits >> GENERATION_SHIFT) as u32 & GENERATION_MASK;
        match bits >> KIND_SHIFT {
            0 => Self::Connection(ConnectionId { slot, generation }, Side::Client),
            1 => Self::Connection(ConnectionId { slot, generation }, Side::Server),
            2 => Self::Port(slot),
            _ => Self::Wake,
        }
    }
}

#[cfg(test)]
mod tests;
