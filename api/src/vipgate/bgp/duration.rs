//! Times as Go writes them, of which BGP knows whole seconds.

use std::time::Duration;

/// The most that a hold time can be on the wire, and enough for the others.
const MOST: u64 = 65_535;

/// Reads `90s`, `1m30s`, `1h`; `None` when it is no number of whole seconds from 0 to 65535.
pub fn seconds(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text, 0_u64);
    for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((digits, after)) = rest.split_once(unit) else { continue };
        let is_number =
            (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let number: u64 = digits.parse().ok().filter(|_| is_number)?;
        (rest, sum) = (after, sum + number * length);
    }
    let is_whole = rest.is_empty() && !text.is_empty() && sum <= MOST;
    is_whole.then(|| Duration::from_secs(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_in_every_form_and_nothing_else() {
        for (text, is) in [
            ("0", 0),
            ("0s", 0),
            ("90s", 90),
            ("1m30s", 90),
            ("1h0m5s", 3605),
            ("18h12m15s", 65_535),
        ] {
            assert_eq!(seconds(text), Some(Duration::from_secs(is)), "{text}");
        }
        for text in [
            "",
            "90",
            "s",
            "1.5s",
            "1500ms",
            "30s1m",
            "1s1s",
            "-1s",
            "+1s",
            " 1s",
            "18h12m16s",
            "99999h",
            "1d",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
