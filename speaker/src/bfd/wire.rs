//! The control packet (RFC 5880 section 4.1); beside it the echo packet, and frames with either.

pub mod echo;
pub mod frame;

use thiserror::Error;

/// Bytes of a packet without authentication.
pub const LENGTH: usize = 24;
const VERSION: u8 = 1;

/// The states of section 6.2, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Held down by an operator.
    AdminDown = 0,
    /// Nothing is heard.
    Down = 1,
    /// Heard, and not yet known to be heard.
    Init = 2,
    /// Both hear each other.
    Up = 3,
}

/// Why a session went down: the diagnostic codes of section 4.1 that we set or tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostic {
    /// None.
    None,
    /// Nothing was heard for the detection time.
    DetectionTimeExpired,
    /// Echoes did not return for their detection time.
    EchoFailed,
    /// The other side said that it is down.
    NeighborSignaledDown,
    /// By an operator.
    AdministrativelyDown,
    /// Another one, by its number.
    Other(u8),
}

impl Diagnostic {
    fn number(self) -> u8 {
        match self {
            Diagnostic::None => 0,
            Diagnostic::DetectionTimeExpired => 1,
            Diagnostic::EchoFailed => 2,
            Diagnostic::NeighborSignaledDown => 3,
            Diagnostic::AdministrativelyDown => 7,
            Diagnostic::Other(number) => number & 0x1f,
        }
    }

    fn from_number(number: u8) -> Diagnostic {
        match number {
            0 => Diagnostic::None,
            1 => Diagnostic::DetectionTimeExpired,
            2 => Diagnostic::EchoFailed,
            3 => Diagnostic::NeighborSignaledDown,
            7 => Diagnostic::AdministrativelyDown,
            other => Diagnostic::Other(other),
        }
    }
}

/// A control packet. Intervals are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's session is not up.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// Asks for an answer with `is_final`.
    pub poll: bool,
    /// Answers a poll.
    pub is_final: bool,
    /// The sender wants no periodic packets while up.
    pub demand: bool,
    /// So many packets may be missed.
    pub multiplier: u8,
    /// The sender's number for the session; not zero.
    pub my_discriminator: u32,
    /// The receiver's number for it, or zero if not known.
    pub your_discriminator: u32,
    /// The sender wants to send this often.
    pub desired_min_tx: u32,
    /// The sender can take packets this often.
    pub required_min_rx: u32,
    /// The sender returns echo packets this often; none if zero.
    pub required_min_echo_rx: u32,
}

/// Why a packet is dropped (section 6.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Not a whole packet, or longer than the datagram.
    #[error("the length does not fit")]
    Length,
    /// Another version.
    #[error("version {0} is not 1")]
    Version(u8),
    /// Authentication is not configured here.
    #[error("authentication is asked for")]
    Authentication,
    /// A bit that must be zero.
    #[error("the multipoint bit is set")]
    Multipoint,
    /// A detection time of nothing.
    #[error("the multiplier is zero")]
    Multiplier,
    /// Without a number, or without ours in a state that knows it.
    #[error("a discriminator is zero")]
    Discriminator,
}

impl Packet {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION << 5 | self.diagnostic.number();
        bytes[1] = (self.state as u8) << 6
            | u8::from(self.poll) << 5
            | u8::from(self.is_final) << 4
            | u8::from(self.demand) << 1;
        bytes[2] = self.multiplier;
        bytes[3] = LENGTH as u8;
        let numbers = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (place, number) in bytes[4..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is to be dropped.
    pub fn decode(datagram: &[u8]) -> Result<Packet, WireError> {
        let bytes = datagram.first_chunk::<LENGTH>().ok_or(WireError::Length)?;
        let version = bytes[0] >> 5;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let flag = |bit: u8| bytes[1] & 1 << bit != 0;
        if flag(2) {
            return Err(WireError::Authentication);
        }
        let length = usize::from(bytes[3]);
        if length < LENGTH || length > datagram.len() {
            return Err(WireError::Length);
        }
        if bytes[2] == 0 {
            return Err(WireError::Multiplier);
        }
        if flag(0) {
            return Err(WireError::Multipoint);
        }
        let number = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let state = match bytes[1] >> 6 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        };
        let packet = Packet {
            diagnostic: Diagnostic::from_number(bytes[0] & 0x1f),
            state,
            poll: flag(5),
            is_final: flag(4),
            demand: flag(1),
            multiplier: bytes[2],
            my_discriminator: number(4),
            your_discriminator: number(8),
            desired_min_tx: number(12),
            required_min_rx: number(16),
            required_min_echo_rx: number(20),
        };
        let unknown = packet.your_discriminator == 0 && state >= State::Init;
        if packet.my_discriminator == 0 || unknown {
            return Err(WireError::Discriminator);
        }
        Ok(packet)
    }
}

#[cfg(test)]
mod tests;
