//! Packing is lossless.

use super::{ConnectionId, GENERATION_MASK, Side, Token};

#[test]
fn tokens_survive_the_round_trip() {
    for slot in [0, 1, 77, u32::MAX as usize] {
        for generation in [0, 1, GENERATION_MASK, u32::MAX] {
            for side in [Side::Client, Side::Server] {
                let token = Token::Connection(ConnectionId::new(slot, generation), side);
                assert_eq!(Token::from_data(token.data()), token);
            }
        }
    }
    for token in [Token::Wake, Token::Port(0), Token::Port(u32::MAX)] {
        assert_eq!(Token::from_data(token.data()), token);
    }
}
