//! What a community is as a number (RFC 1997, RFC 8092), and what well-known ones are called.

use std::fmt;
use std::str::FromStr;

/// A community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommunityValue {
    /// RFC 1997: `65001:100`.
    Standard(u32),
    /// RFC 8092: `large:64500:1:2`.
    Large([u32; 3]),
}

/// A text that is no community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no community: write two numbers up to 65535 (65001:100), or `large:` and three up to 4294967295 \
     (large:64500:1:2)"
)]
pub struct CommunityValueError;

impl FromStr for CommunityValue {
    type Err = CommunityValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |part: &str| {
            let is_plain = part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u32>().ok().filter(|_| is_plain).ok_or(CommunityValueError)
        };
        if let Some(parts) = text.strip_prefix("large:") {
            let parts: Vec<u32> = parts.split(':').map(number).collect::<Result<_, _>>()?;
            return parts.try_into().map(Self::Large).map_err(|_| CommunityValueError);
        }
        let (high, low) = text.split_once(':').ok_or(CommunityValueError)?;
        let half = |part: &str| match number(part)? {
            number @ 0..=0xffff if part.len() <= 5 => Ok(number),
            _ => Err(CommunityValueError),
        };
        Ok(Self::Standard((half(high)? << 16) | half(low)?))
    }
}

impl fmt::Display for CommunityValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
            Self::Large([a, b, c]) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

/// IANA, "BGP Well-known Communities", in the spelling of routers.
const WELL_KNOWN: [(&str, u32); 9] = [
    ("graceful-shutdown", 0xffff_0000),
    ("accept-own", 0xffff_0001),
    ("llgr-stale", 0xffff_0006),
    ("no-llgr", 0xffff_0007),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
    ("no-peer", 0xffff_ff04),
];

/// The community of a well-known name.
pub fn well_known(name: &str) -> Option<CommunityValue> {
    let found = WELL_KNOWN.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| CommunityValue::Standard(*value))
}

/// All of these names.
pub fn well_known_names() -> impl Iterator<Item = &'static str> {
    WELL_KNOWN.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_read_and_shown_alike() {
        for (text, value) in [
            ("0:0", CommunityValue::Standard(0)),
            ("65001:100", CommunityValue::Standard((65_001 << 16) | 100)),
            ("65535:65535", CommunityValue::Standard(u32::MAX)),
            ("large:64500:1:4294967295", CommunityValue::Large([64_500, 1, u32::MAX])),
        ] {
            assert_eq!(text.parse(), Ok(value), "{text}");
            assert_eq!(value.to_string(), text);
        }
        for text in [
            "",
            "1",
            "1:2:3",
            "65536:0",
            "0:65536",
            "-1:2",
            "+1:2",
            "1 :2",
            "a:b",
            "large:1:2",
            "large:1:2:3:4",
            "large:1:2:4294967296",
            "000001:1",
            "large:00000000001:2:3",
            "no-export",
        ] {
            assert_eq!(text.parse::<CommunityValue>(), Err(CommunityValueError), "{text}");
        }
    }

    #[test]
    fn well_known_names_are_those_of_the_registry() {
        let number = |name: &str| well_known(name).map(|value| value.to_string());
        assert_eq!(number("no-export").as_deref(), Some("65535:65281"));
        assert_eq!(number("graceful-shutdown").as_deref(), Some("65535:0"));
        assert_eq!(number("blackhole").as_deref(), Some("65535:666"));
        assert_eq!(number("some"), None);
        assert_eq!(well_known_names().count(), WELL_KNOWN.len());
    }
}
