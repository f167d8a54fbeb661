//! What an epoll event belongs to, packed into its 64 bits of user data.
//!
//! An event that is left over from a session that ended may meet the next one in its slot: that reads its
//! socket once and finds nothing.

use rustix::event::epoll::EventData;

/// Source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The table changed.
    Wake,
    /// A port's socket, by the port's number in the table.
    Port(u32),
    /// The socket of a session, by its slot.
    Session(u32),
}

const KIND_SHIFT: u32 = 32;

impl Token {
    /// As epoll user data.
    pub(super) fn data(self) -> EventData {
        let (kind, number) = match self {
            Self::Session(slot) => (0, slot),
            Self::Port(slot) => (1, slot),
            Self::Wake => (2, 0),
        };
        EventData::new_u64((kind << KIND_SHIFT) | u64::from(number))
    }

    /// From epoll user data.
    #[allow(clippy::cast_possible_truncation, reason = "cuts the fields out of the 64 bits")]
    pub(super) fn from_data(data: EventData) -> Self {
        let bits = data.u64();
        match bits >> KIND_SHIFT {
            0 => Self::Session(bits as u32),
            1 => Self::Port(bits as u32),
            _ => Self::Wake,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_they_were() {
        for token in [Token::Wake, Token::Port(0), Token::Port(u32::MAX), Token::Session(7)] {
            assert_eq!(Token::from_data(token.data()), token);
        }
    }
}
