//! What is read from what programs print; the programs themselves run in the lab.

use super::*;

#[test]
fn ethernet_addresses_are_found_in_what_every_arping_and_ip_print() {
    for (line, expected) in [
        (
            "60 bytes from 0a:58:4d:00:00:02 (10.77.0.200): index=0 time=9.120 usec",
            "0a:58:4d:00:00:02",
        ),
        ("Unicast reply from 172.18.255.200 [02:42:AC:12:00:03]  0.617ms", "02:42:ac:12:00:03"),
        ("10.77.0.2 lladdr 0a:58:4d:00:00:02 REACHABLE", "0a:58:4d:00:00:02"),
        ("fd77::200 dev eth0 lladdr 0a:58:4d:00:00:02 router STALE", "0a:58:4d:00:00:02"),
    ] {
        assert_eq!(mac_in(line).as_deref(), Some(expected), "{line}");
    }
    for line in ["ARPING 10.77.0.200", "Timeout", "fd77::200 dev eth0  FAILED", "12:34:56"] {
        assert_eq!(mac_in(line), None, "{line}");
    }
}

fn calls(lines: &str) -> Calls {
    Calls::read(lines).expect("they are understood")
}

#[test]
fn an_outage_is_the_longest_time_between_good_calls() {
    let lines = "call 10.0 10.1\ncall 10.1 10.2\nmissed 10.2 11.2\ncall 10.3 11.4\ncall 12.1 12.2\nheld 12.3\n";
    let told = calls(lines);
    assert_eq!((told.good(), told.missed()), (3, 1));
    let outage = told.outage().expect("it ended");
    assert!((outage - 2.0).abs() < 0.001, "{outage}");
    // In another order than they began.
    let mixed = calls("call 12.1 12.2\ncall 10.0 10.1\n");
    assert!((mixed.outage().expect("it ended") - 2.1).abs() < 0.001);
}

#[test]
fn an_outage_without_end_is_none_that_can_be_measured() {
    let many = |word: &str, from: u32| -> String {
        (0..10).map(|n| format!("{word} {}.{n} {}.{n}\n", from, from + 3)).collect()
    };
    let good = "call 5.0 5.1\n";
    for word in ["missed", "call"] {
        assert!(calls(&format!("{good}{}", many(word, 6))).outage().is_err(), "{word}: no end");
        assert!(
            calls(&format!("{}{good}", many(word, 4))).outage().is_err(),
            "{word}: no beginning"
        );
    }
    assert!(calls("").outage().is_err());
    // One at the edge is no outage of its own.
    assert!(calls("missed 4.9 7.9\ncall 5.0 5.1\nmissed 5.2 8.2\n").outage().is_ok());
    assert!(Calls::read("bash: no such thing\n").is_err());
}

#[test]
fn what_became_of_the_connection_that_is_held_is_told() {
    for (lines, says) in [
        ("held 1.0\nheld 2.5\n", "0 not; the open connection lived for 1.5 s, to the end"),
        (
            "held 1.0\nheld 2.0\nlost 3.0\nmissed 3.0 3.1\n",
            "1 not; the open connection was lost after 2.0 s",
        ),
        ("lost 2.0\n", "there was no answer on the open connection"),
    ] {
        let told = calls(lines).to_string();
        assert!(told.ends_with(says), "{told}");
    }
}

#[test]
fn blocks_of_pem_are_found_among_other_lines() {
    let one = "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n";
    let text = format!(
        "CONNECTED\n-----BEGIN PRIVATE KEY-----\nBBB\n-----END PRIVATE KEY-----\n{one}---\n"
    );
    assert_eq!(block(&text, "CERTIFICATE").expect("it is there"), one);
    assert!(block(&text, "PRIVATE KEY").expect("it is there").contains("BBB"));
    assert!(block("CONNECTED\nno peer certificate available\n", "CERTIFICATE").is_err());
}
