use super::*;

const UP: Packet = Packet {
    diagnostic: Diagnostic::None,
    state: State::Up,
    poll: true,
    is_final: false,
    demand: false,
    multiplier: 3,
    my_discriminator: 0x0102_0304,
    your_discriminator: 0x0506_0708,
    desired_min_tx: 300_000,
    required_min_rx: 100_000,
};

/// Written by hand after the figure in section 4.1.
const UP_BYTES: [u8; 24] =
    [0x20, 0xe0, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 4, 0x93, 0xe0, 0, 1, 0x86, 0xa0, 0, 0, 0, 0];

#[test]
fn a_packet_is_written_and_read_as_the_rfc_says() {
    assert_eq!(UP.encode(), UP_BYTES);
    assert_eq!(Packet::decode(&UP_BYTES), Ok(UP));
    let down = Packet {
        diagnostic: Diagnostic::DetectionTimeExpired,
        state: State::Down,
        poll: false,
        is_final: true,
        your_discriminator: 0,
        ..UP
    };
    assert_eq!(down.encode()[..2], [0x21, 0x50]);
    assert_eq!(Packet::decode(&down.encode()), Ok(down));
}

/// What bytes of UP have to be replaced, at which place, for which error.
#[test]
fn what_is_to_be_dropped_is_dropped() {
    let with = |place: usize, bytes: &[u8]| {
        let mut changed = UP_BYTES;
        changed[place..place + bytes.len()].copy_from_slice(bytes);
        Packet::decode(&changed)
    };
    assert_eq!(with(0, &[0x40]), Err(WireError::Version(2)));
    assert_eq!(with(1, &[0xe4]), Err(WireError::Authentication));
    assert_eq!(with(1, &[0xe1]), Err(WireError::Multipoint));
    assert_eq!(with(2, &[0]), Err(WireError::Multiplier));
    assert_eq!(with(3, &[23]), Err(WireError::Length));
    assert_eq!(with(3, &[25]), Err(WireError::Length));
    assert_eq!(with(4, &[0; 4]), Err(WireError::Discriminator));
    assert_eq!(with(8, &[0; 4]), Err(WireError::Discriminator), "Up without our number");
    assert_eq!(with(1, &[0x40]).map(|packet| packet.state), Ok(State::Down));
}

#[test]
fn every_prefix_is_too_short_and_no_bytes_panic() {
    for end in 0..UP_BYTES.len() {
        assert_eq!(Packet::decode(&UP_BYTES[..end]), Err(WireError::Length));
    }
    let mut random = 1_u64;
    let mut accepted = 0;
    for _ in 0..200_000 {
        let mut bytes = UP_BYTES;
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes[(random >> 33) as usize % bytes.len()] = (random >> 56) as u8;
        }
        if let Ok(packet) = Packet::decode(&bytes) {
            accepted += 1;
            assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        }
    }
    assert!(accepted > 50_000, "{accepted}");
}
