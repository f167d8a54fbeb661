use std::time::Duration;

use super::frames;

fn header(link_type: u32) -> Vec<u8> {
    let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, link_type];
    words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect()
}

fn record(seconds: u32, micros: u32, frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap();
    let words = [seconds, micros, length, length];
    let head = words.iter().flat_map(|word| word.to_ne_bytes());
    head.chain(frame.iter().copied()).collect()
}

#[test]
fn every_prefix_gives_the_complete_frames_in_it() {
    let file = [header(1), record(7, 500_000, b"first"), record(8, 0, b"second")].concat();
    let ends = [24 + 16 + 5, 24 + 16 + 5 + 16 + 6];
    for length in 0..=file.len() {
        let found = frames(&file[..length]).unwrap();
        assert_eq!(found.len(), ends.iter().filter(|end| **end <= length).count(), "{length}");
    }
    let found = frames(&file).unwrap();
    assert_eq!(found[0].at, Duration::from_millis(7500));
    assert_eq!(found[1].bytes, b"second");
}

#[test]
fn what_is_not_ethernet_or_not_pcap_is_refused() {
    assert!(frames(&header(113)).unwrap_err().to_string().contains("Ethernet"));
    assert!(frames(&[0; 24]).unwrap_err().to_string().contains("pcap"));
}

#[test]
fn a_damaged_length_is_refused() {
    let mut file = [header(1), record(0, 0, b"x")].concat();
    file[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert!(frames(&file).unwrap_err().to_string().contains("damaged"));
}
