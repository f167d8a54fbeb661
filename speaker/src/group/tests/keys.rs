//! Key files and the rotation of keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::net::{Net, address, key, ms, ring};
use crate::group::core::Input;
use crate::group::key::{GroupKey, KeyError, Keyring};

#[test]
fn a_file_of_two_keys_with_comments_is_read_in_its_order() {
    let (new, old) = (GroupKey::random().unwrap(), GroupKey::random().unwrap());
    let text = format!("# since monday\n{}\n\n  {}  \n", new.to_text(), old.to_text());
    assert_eq!(Keyring::parse(&text).unwrap().keys(), [new, old]);
}

#[test]
fn what_is_no_key_is_named_by_its_line() {
    let good = key(1).to_text();
    let error = |text: &str| Keyring::parse(text).unwrap_err().to_string();
    assert!(error(&format!("{good}\nsecret\n")).contains("line 2"));
    assert!(error("c2hvcnQ=").contains("line 1"));
    assert!(error("").contains("has 0 keys"));
    assert!(error(&format!("{good}\n{good}\n{good}")).contains("has 3 keys"));
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let path = std::env::temp_dir().join(format!("vipgate-key-{}", std::process::id()));
    fs::write(&path, key(1).to_text()).unwrap();
    let with_mode = |mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Keyring::open(&path)
    };
    assert!(matches!(with_mode(0o640), Err(KeyError::Mode { mode: 0o640, .. })));
    assert!(matches!(with_mode(0o604), Err(KeyError::Mode { .. })));
    assert_eq!(with_mode(0o600).unwrap().keys(), [key(1)]);
    fs::remove_file(&path).unwrap();
    assert!(matches!(Keyring::open(&path), Err(KeyError::Read { .. })));
}

#[test]
fn a_key_is_never_shown() {
    let shown = format!("{:?}", ring(&[7]));
    assert!(!shown.contains('7') && shown.contains("hidden"), "{shown}");
}

#[test]
fn a_rotation_in_three_steps_loses_nobody() {
    let mut net = Net::settled(1, 4);
    for step in [&[1, 2][..], &[2, 1], &[2]] {
        for number in 1..=4 {
            net.input(address(number), Input::Keys(ring(step)));
            net.run(ms(700));
        }
    }
    net.run(ms(3_000));
    assert_eq!(net.changes, [], "came or went");
    for member in net.members.values() {
        assert_eq!(member.counts().refused.values().sum::<u64>(), 0, "nothing was refused");
    }
}

#[test]
fn a_rotation_in_one_step_does_lose_them() {
    let mut net = Net::settled(1, 3);
    net.input(address(1), Input::Keys(ring(&[2])));
    net.run(ms(1_500));
    assert_eq!(net.alive(1).len(), 0, "nobody else has the key");
}
