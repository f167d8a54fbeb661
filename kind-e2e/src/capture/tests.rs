use super::drops_in;

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
