//! Lines of /proc/net/tcp and the text that is made of them.

use super::{Holder, collide, listening, socket_address};

#[cfg(target_endian = "little")]
#[test]
fn addresses_of_both_families_are_read() {
    assert_eq!(socket_address("0100007F:1F90"), Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(
        socket_address("0000000000000000FFFF00000100007F:0050"),
        Some("[::ffff:127.0.0.1]:80".parse().unwrap())
    );
    assert_eq!(socket_address("nonsense"), None);
    assert_eq!(socket_address("0100007:1F90"), None);
}

#[cfg(target_endian = "little")]
#[test]
fn only_listening_sockets_count() {
    let listen = "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
    assert_eq!(listening(listen), Some(("0.0.0.0:22".parse().unwrap(), 4711)));
    assert_eq!(listening(&listen.replace(" 0A ", " 01 ")), None);
}

#[test]
fn a_wildcard_collides_with_every_address_of_its_family() {
    let wanted = "10.0.0.1:80".parse().unwrap();
    assert!(collide("0.0.0.0:80".parse().unwrap(), wanted));
    assert!(collide("[::]:80".parse().unwrap(), wanted));
    assert!(collide("10.0.0.1:80".parse().unwrap(), wanted));
    assert!(!collide("10.0.0.2:80".parse().unwrap(), wanted));
    assert!(!collide("0.0.0.0:81".parse().unwrap(), wanted));
    assert!(!collide("0.0.0.0:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap()));
}

#[test]
fn the_text_names_who_and_where() {
    let holder = Holder {
        listens_on: "0.0.0.0:80".parse().unwrap(),
        process: Some(("nginx".to_owned(), 812)),
    };
    assert_eq!(holder.to_string(), "nginx (pid 812), which listens on 0.0.0.0:80");
}
