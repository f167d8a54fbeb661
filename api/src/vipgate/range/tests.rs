//! What a pool's `addresses` may look like, and what is said about what may not.

use super::{AddressRange, AddressRangeError};

fn range(text: &str) -> AddressRange {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    text.parse::<AddressRange>().expect_err(text).to_string()
}

#[test]
fn every_form_is_read() {
    for (text, shown) in [
        ("192.0.2.0/24", "192.0.2.0-192.0.2.255"),
        ("192.0.2.5/24", "192.0.2.0-192.0.2.255"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.6/31", "192.0.2.6-192.0.2.7"),
        ("192.0.2.10-192.0.2.20", "192.0.2.10-192.0.2.20"),
        (" 192.0.2.10 - 192.0.2.20 ", "192.0.2.10-192.0.2.20"),
        ("192.0.2.10-192.0.2.10", "192.0.2.10"),
        ("192.0.2.10", "192.0.2.10"),
        ("0.0.0.0/0", "0.0.0.0-255.255.255.255"),
        ("2001:db8::/126", "2001:db8::-2001:db8::3"),
        ("2001:db8::5", "2001:db8::5"),
        ("2001:db8::1-2001:db8::1:0", "2001:db8::1-2001:db8::1:0"),
    ] {
        let parsed = range(text);
        assert_eq!(parsed.to_string(), shown, "{text}");
        assert_eq!(range(shown), parsed, "display of {text} reads back");
    }
}

#[test]
fn contains_both_ends_and_only_its_family() {
    let four = range("192.0.2.10-192.0.2.20");
    for (address, inside) in [
        ("192.0.2.9", false),
        ("192.0.2.10", true),
        ("192.0.2.20", true),
        ("192.0.2.21", false),
        ("::ffff:192.0.2.15", false),
    ] {
        assert_eq!(four.contains(address.parse().unwrap()), inside, "{address}");
    }
    assert!(!range("::/0").contains("192.0.2.15".parse().unwrap()));
    assert!(range("::/0").contains("2001:db8::1".parse().unwrap()));
}

#[test]
fn a_refusal_says_what_to_write() {
    for (text, want) in [
        ("", "an address range is empty: write a CIDR"),
        ("192.0.2.300", "\"192.0.2.300\" is not an IP address: write a CIDR"),
        ("192.0.2.1-20", "\"20\" is not an IP address"),
        ("lan", "\"lan\" is not an IP address"),
        ("192.0.2.0/33", "\"33\" is not a prefix length: write a number from 0 to 32"),
        ("192.0.2.0/", "\"\" is not a prefix length"),
        ("2001:db8::/129", "write a number from 0 to 128"),
        ("192.0.2.1-2001:db8::1", "192.0.2.1 and 2001:db8::1 are of different families"),
        ("192.0.2.20-192.0.2.10", "192.0.2.20 is above 192.0.2.10: write 192.0.2.10-192.0.2.20"),
        ("::ffff:192.0.2.1", "write 192.0.2.1"),
        ("fe80::1%eth0", "\"fe80::1%eth0\" is not an IP address"),
    ] {
        let message = refused(text);
        assert!(message.contains(want), "{text}: {message}");
    }
    assert_eq!("".parse::<AddressRange>(), Err(AddressRangeError::Empty));
}
