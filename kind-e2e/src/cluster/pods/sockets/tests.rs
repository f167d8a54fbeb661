use std::net::{TcpListener, UdpSocket};

use super::*;

#[test]
fn listeners_are_told_from_connections_and_from_loopback() {
    let loopback = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
    let table = format!(
        "  sl  local_address rem_address   st tx_queue\n   \
            0: 00000000:0BB8 00000000:0000 0A 00000000:00000000\n   \
            1: 00000000:0BB9 0100007F:1F90 01 00000000:00000000\n   \
            2: {loopback}:0BBA 00000000:0000 0A 00000000:00000000\n   \
            3: broken\n"
    );
    assert_eq!(ports(&table, LISTENING).collect::<Vec<_>>(), [3000]);
}

#[test]
fn our_own_sockets_are_found() -> Result<()> {
    let tcp = TcpListener::bind("0.0.0.0:0")?;
    let udp = UdpSocket::bind("0.0.0.0:0")?;
    let found = open(std::process::id())?;
    assert!(found.contains(&(Protocol::Tcp, tcp.local_addr()?.port())));
    assert!(found.contains(&(Protocol::Udp, udp.local_addr()?.port())));
    Ok(())
}
