//! The decoder: every captured message, every piece of it, and a million damaged ones.

use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};
use vipgate_speaker::bgp::wire::{Message, decode, frame};

use crate::corpus::{Mutator, messages};

/// As many as the issue asks for in CI; `VIPGATE_HOSTILE_MESSAGES` for more.
const MESSAGES: u64 = 1_000_000;

#[test]
fn every_captured_message_is_understood() {
    let mut kinds = [0; 5];
    for message in messages() {
        let found = frame(&message).unwrap().unwrap();
        match decode(found.kind, found.body, true).unwrap() {
            Message::Open(open) => {
                kinds[0] += 1;
                assert!(matches!(open.asn, 65001 | 65002 | 4_200_000_002), "{open:?}");
                assert_eq!(open.capabilities.families.len(), 2, "{open:?}");
                assert!(open.capabilities.as4 && open.capabilities.route_refresh, "{open:?}");
            }
            Message::Update(update) => {
                kinds[1] += 1;
                let nonsense = update.defect.is_some();
                assert!(
                    nonsense
                        || update.announced > 0
                        || update.end_of_rib.is_some()
                        || update.withdrawn == 0
                );
            }
            Message::Notification(last) => {
                kinds[2] += 1;
                // To our nonsense, or because we had been silent until then.
                let known =
                    ["Message Header Error / Connection Not Synchronized", "Hold Timer Expired"];
                assert!(known.contains(&last.to_string().as_str()), "{last}");
            }
            Message::Keepalive => kinds[3] += 1,
            Message::Refresh(_) => kinds[4] += 1,
        }
    }
    println!("OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE-REFRESH: {kinds:?}");
    // Eight sessions with each an OPEN, routes, ends of RIB and a NOTIFICATION.
    assert!(kinds[0] == 8 && kinds[1] >= 24 && kinds[2] >= 7 && kinds[3] >= 8, "{kinds:?}");
}

/// Of a captured UPDATE only the nonsense of ours has defects.
#[test]
fn no_captured_update_has_a_defect() {
    let real = messages().len() - 9;
    for message in &messages()[..real] {
        let found = frame(message).unwrap().unwrap();
        if let Ok(Message::Update(update)) = decode(found.kind, found.body, true) {
            assert_eq!(update.defect, None, "{message:02x?}");
        }
    }
}

#[test]
fn every_piece_of_every_message_is_survived() {
    for message in messages() {
        for end in 0..message.len() {
            assert_eq!(frame(&message[..end]), Ok(None), "not yet whole");
        }
        let found = frame(&message).unwrap().unwrap();
        for from in 0..found.body.len() {
            for to in from..found.body.len() {
                for as4 in [false, true] {
                    let _answer = decode(found.kind, &found.body[from..to], as4);
                }
            }
        }
    }
}

#[test]
fn a_million_damaged_messages_are_survived_in_bounded_memory() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "decoder::under_a_limit_on_memory"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{error}");
    print!("{said}");
}

#[test]
#[ignore = "sets limits on its process; run by a_million_damaged_messages_are_survived_in_bounded_memory"]
fn under_a_limit_on_memory() {
    let memory = Some(256 << 20);
    setrlimit(Resource::As, Rlimit { current: memory, maximum: memory }).unwrap();
    setrlimit(Resource::Cpu, Rlimit { current: Some(300), maximum: Some(300) }).unwrap();
    let messages = std::env::var("VIPGATE_HOSTILE_MESSAGES")
        .map_or(MESSAGES, |text| text.parse().expect("a number"));
    let mut mutator = Mutator::new(1);
    let mut framed = 0_u64;
    let mut understood = 0_u64;
    let mut before = 0;
    for number in 0..messages {
        if number == messages / 10 {
            before = resident();
        }
        let message = mutator.next();
        let Ok(Some(found)) = frame(&message) else { continue };
        framed += 1;
        match decode(found.kind, found.body, number % 2 == 0) {
            Ok(Message::Notification(last)) => {
                understood += 1;
                assert!(last.to_string().len() < 2_048);
            }
            Ok(_) => understood += 1,
            Err(error) => assert!(!error.notification().to_string().is_empty()),
        }
    }
    let growth = resident().saturating_sub(before);
    println!("{messages} messages, {framed} framed, {understood} understood, grown by {growth} kB");
    assert!(framed * 2 >= messages, "most are to get past the header: {framed}");
    assert!(growth < 5_000, "{growth} kB");
}

/// Resident memory in kB.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
