//! Durations of the Gateway API.

use std::time::Duration;

/// Reads a duration of GEP-2257: one to four numbers of up to five digits, each with its unit (`h`, `m`, `s`,
/// `ms`), such as `1h30m` or `500ms`. `None` when it is none.
pub fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text, 0);
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let number: u64 = (1..=5).contains(&digits).then(|| number.parse().ok())??;
        let unit = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(unit);
        sum += number
            * match unit {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1000,
                "ms" => 1,
                _ => return None,
            };
        rest = after;
        if rest.is_empty() {
            return Some(Duration::from_millis(sum));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_gep_2257_has_them() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("00s", 0),
            ("10s", 10_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("30m1h", 5_400_000),
            ("1s1s1s1s", 4000),
            ("99999h", 99_999 * 3_600_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "0",
            "10",
            "s",
            "1.5s",
            "-1s",
            "+1s",
            " 1s",
            "1s ",
            "1d",
            "1us",
            "1S",
            "100000s",
            "1s1s1s1s1s",
            "1h 30m",
            "1hs",
            "\u{661}s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
