//! The kernel's classic BPF, as far as the filter uses it: checks a program as the kernel does
//! before it accepts one, and runs it.

use crate::l2::filter::{
    Instruction, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL, LOAD_HALF, LOAD_WORD, MAX_LEN,
    PACKET_TYPE, RETURN,
};

/// Panics on what `bpf_check_classic` refuses.
pub(super) fn check(program: &[Instruction]) {
    assert!((1..=MAX_LEN).contains(&program.len()), "{} instructions", program.len());
    assert_eq!(program.last().unwrap().code, RETURN, "the last instruction returns");
    for (at, i) in program.iter().enumerate() {
        let furthest = match i.code {
            JUMP => i.k as usize,
            JUMP_EQUAL | JUMP_GREATER | JUMP_GREATER_EQUAL => i.jt.max(i.jf).into(),
            LOAD_HALF | LOAD_WORD | RETURN => continue,
            code => panic!("unknown code {code:#x}"),
        };
        assert!(at + 1 + furthest < program.len(), "instruction {at} jumps out");
    }
}

/// Bytes of the frame that pass.
pub(super) fn run(program: &[Instruction], frame: &[u8], packet_type: u32) -> u32 {
    let (mut at, mut a) = (0, 0);
    loop {
        let i = program[at];
        at += 1;
        let skip = |holds: bool| usize::from(if holds { i.jt } else { i.jf });
        match i.code {
            LOAD_WORD if i.k == PACKET_TYPE => a = packet_type,
            LOAD_WORD => match load::<4>(frame, i.k) {
                Some(bytes) => a = u32::from_be_bytes(bytes),
                None => return 0,
            },
            LOAD_HALF => match load::<2>(frame, i.k) {
                Some(bytes) => a = u16::from_be_bytes(bytes).into(),
                None => return 0,
            },
            JUMP => at += i.k as usize,
            JUMP_EQUAL => at += skip(a == i.k),
            JUMP_GREATER => at += skip(a > i.k),
            JUMP_GREATER_EQUAL => at += skip(a >= i.k),
            RETURN => return i.k,
            code => panic!("unknown code {code:#x}"),
        }
    }
}

fn load<const N: usize>(frame: &[u8], at: u32) -> Option<[u8; N]> {
    frame.get(at as usize..)?.first_chunk().copied()
}
