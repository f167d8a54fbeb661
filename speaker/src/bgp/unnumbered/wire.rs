//! Router advertisements, as far as needed (RFC 4861 section 4.2).

/// The ICMPv6 type.
pub const TYPE: u8 = 134;
/// Bytes of one without options.
pub const LENGTH: usize = 16;

/// One of ours: no default router, nothing configured, no options. The kernel adds the checksum.
#[must_use]
pub fn advertisement() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[0] = TYPE;
    bytes
}

/// Whether these bytes, an ICMPv6 message, are a router advertisement.
#[must_use]
pub fn is_advertisement(bytes: &[u8]) -> bool {
    let [kind, code, ..] = bytes else { return false };
    if (*kind, *code) != (TYPE, 0) || bytes.len() < LENGTH {
        return false;
    }
    // Options: type, length in units of eight bytes, which must not be zero (section 6.1.2).
    let mut options = &bytes[LENGTH..];
    while let [_, units, ..] = options {
        let length = usize::from(*units) * 8;
        match options.get(length..) {
            Some(rest) if length > 0 => options = rest,
            _ => return false,
        }
    }
    options.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_one_and_pieces_of_it_are_not() {
        let ours = advertisement();
        assert!(is_advertisement(&ours));
        for end in 0..LENGTH {
            assert!(!is_advertisement(&ours[..end]));
        }
    }

    #[test]
    fn options_have_to_fit() {
        let with = |options: &[u8]| is_advertisement(&[&advertisement()[..], options].concat());
        assert!(with(&[1, 1, 2, 0, 0, 0, 0, 1]));
        assert!(with(&[[1, 1, 2, 0, 0, 0, 0, 1], [5, 1, 0, 0, 0, 0, 5, 220]].concat()));
        assert!(!with(&[1, 0, 2, 0, 0, 0, 0, 1]), "without length");
        assert!(!with(&[1, 2, 2, 0, 0, 0, 0, 1]), "longer than the message");
        assert!(!with(&[1]), "half an option");
    }

    #[test]
    fn a_solicitation_is_none() {
        let mut bytes = advertisement();
        bytes[0] = 133;
        assert!(!is_advertisement(&bytes));
        bytes[..2].copy_from_slice(&[TYPE, 1]);
        assert!(!is_advertisement(&bytes));
    }
}
