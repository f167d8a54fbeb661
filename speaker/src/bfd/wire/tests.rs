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
    required_min_echo_rx: 50_000,
};

/// Written by hand after the figure in section 4.1.
const UP_BYTES: [u8; 24] = [
    0x20, 0xe0, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 4, 0x93, 0xe0, 0, 1, 0x86, 0xa0, 0, 0, 0xc3, 0x50,
];

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

mod echo {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use vipgate_planner::MacAddr;

    use crate::bfd::wire::echo::{Echo, Key, LENGTH};
    use crate::bfd::wire::frame::{self, Frame, Path};

    const ECHO: Echo =
        Echo { discriminator: 0x0102_0304, sent: Duration::from_nanos(0x0506_0708_090a_0b0c) };
    const PATH: Path = Path {
        ours: MacAddr([2, 0, 0, 0, 0, 1]),
        theirs: MacAddr([2, 0, 0, 0, 0, 9]),
        address: Ipv4Addr::new(10, 9, 0, 2),
    };

    #[test]
    fn an_echo_is_read_with_its_own_key_only() {
        let key = Key::new(&[7; 32]);
        let bytes = ECHO.encode(&key);
        assert_eq!(bytes[..12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(Echo::decode(&bytes, &key), Some(ECHO));
        assert_eq!(Echo::claimed(&bytes), Some(ECHO.discriminator));
        assert_eq!(Echo::decode(&bytes, &Key::new(&[8; 32])), None);
        for place in 0..LENGTH {
            let mut changed = bytes;
            changed[place] ^= 1;
            assert_eq!(Echo::decode(&changed, &key), None, "{place}");
            assert_eq!(Echo::decode(&bytes[..place], &key), None, "{place}");
        }
        assert_eq!(Echo::decode(&[bytes.as_slice(), &[0]].concat(), &key), None);
        assert!(!format!("{key:?}").contains('7'));
    }

    /// As another decoder sees it.
    #[test]
    fn an_echo_goes_to_their_station_and_is_for_our_address() {
        let payload = ECHO.encode(&Key::new(&[7; 32]));
        let bytes = frame::echo(&PATH, &payload);
        let other = etherparse::PacketHeaders::from_ethernet_slice(&bytes).unwrap();
        let Some(etherparse::LinkHeader::Ethernet2(ethernet)) = other.link else { panic!() };
        assert_eq!((ethernet.destination, ethernet.source), (PATH.theirs.0, PATH.ours.0));
        let Some(etherparse::NetHeaders::Ipv4(ip, _)) = other.net else { panic!() };
        let ours = PATH.address.octets();
        assert_eq!((ip.source, ip.destination, ip.time_to_live), (ours, ours, 255));
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        let Some(etherparse::TransportHeader::Udp(udp)) = other.transport else { panic!() };
        assert_eq!((udp.destination_port, usize::from(udp.length)), (3785, 8 + LENGTH));
        assert_eq!(other.payload.slice(), payload);
    }

    #[test]
    fn what_is_sent_back_is_what_a_router_forwards() {
        let payload = ECHO.encode(&Key::new(&[7; 32]));
        let mut bytes = frame::echo(&PATH, &payload);
        let sent = Frame::read(&bytes).map(|frame| (frame.from, frame.to, frame.ttl));
        assert_eq!(sent, Some((PATH.ours, PATH.theirs, 255)));
        // Short frames are filled up.
        bytes.extend([0; 10]);
        frame::turn_round(&mut bytes);
        let back = Frame::read(&bytes).unwrap();
        assert_eq!((back.from, back.to, back.ttl), (PATH.theirs, PATH.ours, 254));
        assert_eq!((back.destination, back.port, back.payload), (PATH.address, 3785, &payload[..]));
    }

    /// What bytes of a frame have to be replaced, at which place, for it to be none.
    #[test]
    fn other_frames_are_not_read() {
        let bytes = frame::echo(&PATH, &ECHO.encode(&Key::new(&[7; 32])));
        assert!(Frame::read(&bytes).is_some());
        for end in 0..bytes.len() {
            assert_eq!(Frame::read(&bytes[..end]), None, "{end}");
        }
        for (place, byte) in
            [(12, 0x86), (14, 0x46), (20, 0x20), (21, 1), (23, 6), (24, 0), (39, 7)]
        {
            let mut changed = bytes.clone();
            changed[place] = byte;
            assert_eq!(Frame::read(&changed), None, "{place}");
        }
        let mut random = 1_u64;
        for _ in 0..200_000 {
            let mut changed = bytes.clone();
            for _ in 0..3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let place = (random >> 33) as usize % changed.len();
                changed[place] = (random >> 56) as u8;
            }
            if let Some(frame) = Frame::read(&changed) {
                assert!(frame.payload.len() <= changed.len() - frame::HEADERS);
            }
        }
    }
}
