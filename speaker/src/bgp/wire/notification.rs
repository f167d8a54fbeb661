//! NOTIFICATION (RFC 4271 section 6, RFC 4486, RFC 9003): why a session ends, in numbers and words.

use std::fmt;

/// Error codes.
pub(in crate::bgp) mod code {
    pub(in crate::bgp) const HEADER: u8 = 1;
    pub(in crate::bgp) const OPEN: u8 = 2;
    pub(in crate::bgp) const HOLD: u8 = 4;
    pub(in crate::bgp) const FSM: u8 = 5;
    pub(in crate::bgp) const CEASE: u8 = 6;
    pub(in crate::bgp) const REFRESH: u8 = 7;
}

/// Subcodes of a message header error.
pub(in crate::bgp) mod header {
    pub(in crate::bgp) const NOT_SYNCHRONIZED: u8 = 1;
    pub(in crate::bgp) const BAD_LENGTH: u8 = 2;
    pub(in crate::bgp) const BAD_TYPE: u8 = 3;
}

/// Subcodes of an OPEN message error.
pub(in crate::bgp) mod open {
    pub(in crate::bgp) const UNSPECIFIC: u8 = 0;
    pub(in crate::bgp) const VERSION: u8 = 1;
    pub(in crate::bgp) const PEER_AS: u8 = 2;
    pub(in crate::bgp) const IDENTIFIER: u8 = 3;
    pub(in crate::bgp) const PARAMETER: u8 = 4;
    pub(in crate::bgp) const HOLD_TIME: u8 = 6;
    pub(in crate::bgp) const CAPABILITY: u8 = 7;
}

/// Subcodes of a ROUTE-REFRESH error.
pub(in crate::bgp) mod refresh {
    pub(in crate::bgp) const LENGTH: u8 = 1;
}

/// RFC 9003 allows 255 bytes of text; peers that know only RFC 8203 take no more than this.
const LONGEST_TEXT: usize = 128;

/// Why a session is ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cease {
    /// A planned stop; may carry text.
    AdministrativeShutdown,
    /// The peer's configuration was removed.
    PeerDeconfigured,
    /// The session is to begin anew, with other settings; may carry text.
    AdministrativeReset,
    /// The peer is not taken as it is.
    ConnectionRejected,
    /// The session is to begin anew, because its own settings have changed.
    OtherConfigurationChange,
    /// There is another connection, which stays (RFC 4271 section 6.8).
    Collision,
    /// BFD says that the path is down (RFC 9384).
    BfdDown,
}

impl Cease {
    fn subcode(self) -> u8 {
        match self {
            Cease::AdministrativeShutdown => 2,
            Cease::PeerDeconfigured => 3,
            Cease::AdministrativeReset => 4,
            Cease::ConnectionRejected => 5,
            Cease::OtherConfigurationChange => 6,
            Cease::Collision => 7,
            Cease::BfdDown => 10,
        }
    }
}

/// A NOTIFICATION, sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Details; what they are depends on code and subcode.
    pub data: Vec<u8>,
}

impl Notification {
    /// One without data.
    pub(in crate::bgp) fn new(code: u8, subcode: u8) -> Notification {
        Notification { code, subcode, data: Vec::new() }
    }

    /// The hold time passed without a message.
    #[must_use]
    pub fn hold_time_expired() -> Notification {
        Notification::new(code::HOLD, 0)
    }

    /// An end without an error. The text is shown by the peer's tools (RFC 9003); it is cut at
    /// 128 bytes, and left out where the subcode has none.
    #[must_use]
    pub fn cease(cease: Cease, text: &str) -> Notification {
        let mut notification = Notification::new(code::CEASE, cease.subcode());
        if notification.has_text() && !text.is_empty() {
            let text = &text[..text.floor_char_boundary(LONGEST_TEXT)];
            notification.data.push(u8::try_from(text.len()).expect("at most 128"));
            notification.data.extend(text.as_bytes());
        }
        notification
    }

    /// The text a peer sent along (RFC 9003), with control characters escaped.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let (length, rest) = self.data.split_first().filter(|_| self.has_text())?;
        let text = std::str::from_utf8(rest.get(..usize::from(*length))?).ok()?;
        let shown = text.chars().flat_map(|c| {
            let plain = (!c.is_control()).then_some(c);
            plain.into_iter().chain(c.escape_default().filter(move |_| c.is_control()))
        });
        (!text.is_empty()).then(|| shown.collect())
    }

    fn has_text(&self) -> bool {
        self.code == code::CEASE && matches!(self.subcode, 2 | 4)
    }

    /// The frame guarantees the two bytes of the codes.
    pub(super) fn decode(body: &[u8]) -> Notification {
        let byte = |at: usize| body.get(at).copied().unwrap_or_default();
        let data = body.get(2..).unwrap_or_default().to_vec();
        Notification { code: byte(0), subcode: byte(1), data }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.code, self.subcode];
        body.extend(&self.data);
        body
    }

    fn words(&self) -> (&'static str, Option<&'static str>) {
        let error = match self.code {
            code::HEADER => "Message Header Error",
            code::OPEN => "OPEN Message Error",
            3 => "UPDATE Message Error",
            code::HOLD => "Hold Timer Expired",
            code::FSM => "Finite State Machine Error",
            code::CEASE => "Cease",
            code::REFRESH => "ROUTE-REFRESH Message Error",
            8 => "Send Hold Timer Expired",
            _ => "unknown error",
        };
        let detail = match (self.code, self.subcode) {
            (code::HEADER, header::NOT_SYNCHRONIZED) => "Connection Not Synchronized",
            (code::HEADER, header::BAD_LENGTH) => "Bad Message Length",
            (code::HEADER, header::BAD_TYPE) => "Bad Message Type",
            (code::OPEN, open::VERSION) => "Unsupported Version Number",
            (code::OPEN, open::PEER_AS) => "Bad Peer AS",
            (code::OPEN, open::IDENTIFIER) => "Bad BGP Identifier",
            (code::OPEN, open::PARAMETER) => "Unsupported Optional Parameter",
            (code::OPEN, open::HOLD_TIME) => "Unacceptable Hold Time",
            (code::OPEN, open::CAPABILITY) => "Unsupported Capability",
            (code::OPEN, 11) => "Role Mismatch",
            (3, 1) => "Malformed Attribute List",
            (3, 2) => "Unrecognized Well-known Attribute",
            (3, 3) => "Missing Well-known Attribute",
            (3, 4) => "Attribute Flags Error",
            (3, 5) => "Attribute Length Error",
            (3, 6) => "Invalid ORIGIN Attribute",
            (3, 8) => "Invalid NEXT_HOP Attribute",
            (3, 9) => "Optional Attribute Error",
            (3, 10) => "Invalid Network Field",
            (3, 11) => "Malformed AS_PATH",
            (code::FSM, 1) => "Unexpected Message in OpenSent State",
            (code::FSM, 2) => "Unexpected Message in OpenConfirm State",
            (code::FSM, 3) => "Unexpected Message in Established State",
            (code::CEASE, 1) => "Maximum Number of Prefixes Reached",
            (code::CEASE, 2) => "Administrative Shutdown",
            (code::CEASE, 3) => "Peer De-configured",
            (code::CEASE, 4) => "Administrative Reset",
            (code::CEASE, 5) => "Connection Rejected",
            (code::CEASE, 6) => "Other Configuration Change",
            (code::CEASE, 7) => "Connection Collision Resolution",
            (code::CEASE, 8) => "Out of Resources",
            (code::CEASE, 9) => "Hard Reset",
            (code::CEASE, 10) => "BFD Down",
            _ => return (error, None),
        };
        (error, Some(detail))
    }
}

/// The words of the RFCs, such as `OPEN Message Error / Bad Peer AS`; what has none as numbers.
impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (error, detail) = self.words();
        match (error, detail) {
            ("unknown error", _) => write!(f, "error {}/{}", self.code, self.subcode)?,
            (_, Some(detail)) => write!(f, "{error} / {detail}")?,
            (_, None) if self.subcode == 0 => f.write_str(error)?,
            (_, None) => write!(f, "{error} / subcode {}", self.subcode)?,
        }
        match self.text() {
            Some(text) => write!(f, ": \"{text}\""),
            None => Ok(()),
        }
    }
}
