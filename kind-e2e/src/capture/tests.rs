use std::net::UdpSocket;

use super::drops_in;
use crate::{Lab, Result};

#[test]
fn the_drops_of_our_socket_among_others() {
    let printed = "p_raw 0 0 *:* * ino:57498 sk:1001\n\
                   \tver:0 flags( running ) skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d3)\n\
                   p_raw 0 0 *:* * ino:5749 sk:1002\n\
                   \tver:0 flags( running ) skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d86)\n";
    assert_eq!(drops_in(printed, 57498), Some(3));
    assert_eq!(drops_in(printed, 5749), Some(86));
    assert_eq!(drops_in(printed, 49), None);
}

#[test]
fn a_capture_that_lost_frames_fails() -> Result<()> {
    let node = Lab::new("holes")?.node("n1")?;
    let capture = node.capture("lo", "udp")?;
    let socket = node.enter(|| UdpSocket::bind("127.0.0.1:0"))?;
    let receiver = socket.local_addr()?;
    {
        // The reader waits for us, and what it does not read fills the socket's buffer.
        let _held = capture.shared.frames();
        for _ in 0..30_000 {
            socket.send_to(&[0; 1000], receiver)?;
        }
    }
    let error = capture.stop().unwrap_err().to_string();
    assert!(error.contains("the capture has holes"), "{error}");
    Ok(())
}
