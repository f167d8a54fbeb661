//! Bytes against what the RFCs say, and against zettabgp as it is.

mod control;
mod received;
mod update;
mod zettabgp;

use super::{Frame, Message, WireError, decode, frame};

/// Bytes from hexadecimal digits; blanks are for the eye.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one message these bytes are.
fn read(bytes: &[u8]) -> Result<Message, WireError> {
    let Frame { kind, body, length } = frame(bytes)?.expect("a whole message");
    assert_eq!(length, bytes.len());
    decode(kind, body, true)
}

const MARKER: &str = "ffffffffffffffffffffffffffffffff";
