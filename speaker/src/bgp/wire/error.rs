//! What can be wrong with a received message, and the NOTIFICATION that says so (RFC 4271
//! section 6).

use thiserror::Error;

use super::frame::Kind;
use super::notification::{Notification, code, header, open, refresh};

/// Why a received message ends the session.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The 16 bytes before each message are not all ones.
    #[error("the stream of messages is out of step (bad marker): is this a BGP speaker?")]
    Marker,
    /// Shorter or longer than the type allows.
    #[error("a message claims a length of {0} bytes, which its type does not have")]
    Length(u16),
    /// A type we do not know and did not ask for.
    #[error("a message of unknown type {0}")]
    Type(u8),
    /// Another version of BGP.
    #[error("the peer speaks version {0} of BGP, not 4")]
    Version(u8),
    /// An optional parameter that is not capabilities.
    #[error("an OPEN with optional parameter {0}, which is not known")]
    Parameter(u8),
    /// Lengths inside an OPEN that do not fit.
    #[error("a malformed OPEN: {0}")]
    Open(&'static str),
    /// A ROUTE-REFRESH of the wrong length (RFC 7313).
    #[error("a ROUTE-REFRESH of the wrong length")]
    Refresh,
}

impl WireError {
    /// What the peer is told.
    #[must_use]
    pub fn notification(&self) -> Notification {
        let (code, subcode, data) = match self {
            WireError::Marker => (code::HEADER, header::NOT_SYNCHRONIZED, vec![]),
            WireError::Length(length) => {
                (code::HEADER, header::BAD_LENGTH, length.to_be_bytes().to_vec())
            }
            WireError::Type(kind) => (code::HEADER, header::BAD_TYPE, vec![*kind]),
            // The data is the highest version we speak.
            WireError::Version(_) => (code::OPEN, open::VERSION, vec![0, 4]),
            WireError::Parameter(_) => (code::OPEN, open::PARAMETER, vec![]),
            WireError::Open(_) => (code::OPEN, open::UNSPECIFIC, vec![]),
            WireError::Refresh => (code::REFRESH, refresh::LENGTH, vec![Kind::Refresh.number()]),
        };
        Notification { code, subcode, data }
    }
}
