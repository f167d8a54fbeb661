//! The kernel filter of a packet socket: a classic BPF program that passes ARP about our addresses.
//!
//! A frame passes when it is ARP for IPv4 over Ethernet, a request or reply, not meant for another
//! station or VLAN, and its target or sender address is in the set. Everything else on a busy
//! segment costs this process nothing.
//!
//! Addresses are merged into ranges, which are searched like a balanced tree, once for the target
//! and once for the sender: classic BPF can jump forward only. A program has at most
//! [`MAX_LEN`] instructions; a set that needs more is widened by closing its smallest gaps, and
//! user space, which checks exactly anyway, drops the surplus.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Instructions the kernel accepts (`BPF_MAXINSNS`).
pub const MAX_LEN: usize = 4096;
/// Ranges that always fit, at eight instructions each and a few long jumps.
pub const MAX_RANGES: usize = 500;
/// Bytes of a passing frame that are handed over; what is read of it are [`super::wire::FRAME_LEN`].
pub const SNAP_LEN: u32 = 64;

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if a comparison holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// `A <- ` the 32-bit word at offset `k`. Beyond the frame's end the kernel drops the frame.
pub const LOAD_WORD: u16 = 0x20;
/// `A <- ` the 16-bit word at offset `k`.
pub const LOAD_HALF: u16 = 0x28;
/// Skips `k` instructions.
pub const JUMP: u16 = 0x05;
/// Compares `A == k`.
pub const JUMP_EQUAL: u16 = 0x15;
/// Compares `A > k`.
pub const JUMP_GREATER: u16 = 0x25;
/// Compares `A >= k`.
pub const JUMP_GREATER_EQUAL: u16 = 0x35;
/// Ends; `k` bytes of the frame pass, none if 0.
pub const RETURN: u16 = 0x06;

/// Offset at which the kernel gives the packet type (`SKF_AD_OFF + SKF_AD_PKTTYPE`).
pub const PACKET_TYPE: u32 = 0xffff_f004;
/// Packet type of a frame for another station, or with the tag of a VLAN that this host has not
/// got: its tag is gone when a packet socket sees it, so nothing else tells it from ours.
pub const OTHER_HOST: u32 = 3;

const ETHER_TYPE_AT: u32 = 12;
const HARDWARE_AND_PROTOCOL_AT: u32 = 14;
const LENGTHS_AT: u32 = 18;
const OPERATION_AT: u32 = 20;
const SENDER_IP_AT: u32 = 28;
const TARGET_IP_AT: u32 = 38;

/// The program that passes nothing.
pub fn drop_all() -> Vec<Instruction> {
    vec![statement(RETURN, 0)]
}

/// The program that passes ARP about these addresses; about others too if they form more than
/// `max_ranges` ranges (at most [`MAX_RANGES`], and a kernel may be short of memory for that many).
pub fn program(addresses: &BTreeSet<Ipv4Addr>, max_ranges: usize) -> Vec<Instruction> {
    let ranges = widen(coalesce(addresses), max_ranges.clamp(1, MAX_RANGES));
    if ranges.is_empty() {
        return drop_all();
    }
    let mut program = Vec::new();
    require(&mut program, LOAD_HALF, ETHER_TYPE_AT, &[0x0806]);
    require(&mut program, LOAD_WORD, HARDWARE_AND_PROTOCOL_AT, &[0x0001_0800]);
    require(&mut program, LOAD_HALF, LENGTHS_AT, &[0x0604]);
    require(&mut program, LOAD_HALF, OPERATION_AT, &[1, 2]);
    // All packet types but one.
    program.push(statement(LOAD_WORD, PACKET_TYPE));
    program.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: 1, k: OTHER_HOST });
    program.push(statement(RETURN, 0));

    // Not found as target: go on to the search for the sender, which comes after the first one.
    let target = search(&ranges);
    let after_target = target.len();
    program.push(statement(LOAD_WORD, TARGET_IP_AT));
    program.extend(target.iter().enumerate().map(|(at, step)| match step {
        Step::Plain(instruction) => *instruction,
        Step::Miss => statement(JUMP, distance(at + 1, after_target)),
    }));
    program.push(statement(LOAD_WORD, SENDER_IP_AT));
    program.extend(target.iter().map(|step| match step {
        Step::Plain(instruction) => *instruction,
        Step::Miss => statement(RETURN, 0),
    }));
    program
}

/// Inclusive ranges of addresses, in order, with at least one address between any two.
type Ranges = Vec<(u32, u32)>;

fn coalesce(addresses: &BTreeSet<Ipv4Addr>) -> Ranges {
    let mut ranges: Ranges = Vec::new();
    for address in addresses.iter().map(|address| u32::from(*address)) {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == address => *end = address,
            _ => ranges.push((address, address)),
        }
    }
    ranges
}

/// Closes the smallest gaps until at most `limit` ranges are left.
fn widen(ranges: Ranges, limit: usize) -> Ranges {
    if ranges.len() <= limit {
        return ranges;
    }
    let mut gaps: Vec<(u32, usize)> =
        ranges.windows(2).enumerate().map(|(i, pair)| (pair[1].0 - pair[0].1, i + 1)).collect();
    gaps.sort_unstable();
    let closed: BTreeSet<usize> =
        gaps.iter().take(ranges.len() - limit).map(|(_, right)| *right).collect();
    let mut wider: Ranges = Vec::with_capacity(limit);
    for (i, range) in ranges.into_iter().enumerate() {
        match wider.last_mut() {
            Some((_, end)) if closed.contains(&i) => *end = range.1,
            _ => wider.push(range),
        }
    }
    wider
}

/// Passes on only if the field has one of the values.
fn require(program: &mut Vec<Instruction>, load: u16, at: u32, values: &[u32]) {
    program.push(statement(load, at));
    for (i, value) in values.iter().enumerate() {
        let over_the_rest = u8::try_from(values.len() - i).expect("a handful of values");
        program.push(Instruction { code: JUMP_EQUAL, jt: over_the_rest, jf: 0, k: *value });
    }
    program.push(statement(RETURN, 0));
}

/// A step of a search; where to go when the address is not found is up to the caller.
enum Step {
    Plain(Instruction),
    Miss,
}

/// The search for `A` in the ranges, which returns from the program when it is found.
fn search(ranges: &[(u32, u32)]) -> Vec<Step> {
    let lowest = ranges[0].0;
    let mut steps = vec![
        Step::Plain(Instruction { code: JUMP_GREATER_EQUAL, jt: 1, jf: 0, k: lowest }),
        Step::Miss,
    ];
    steps.extend(subtree(ranges));
    steps
}

/// The search in ranges of which it is known that `A` is not below the first.
fn subtree(ranges: &[(u32, u32)]) -> Vec<Step> {
    if let [(_, end)] = ranges {
        return vec![
            Step::Plain(Instruction { code: JUMP_GREATER, jt: 1, jf: 0, k: *end }),
            Step::Plain(statement(RETURN, SNAP_LEN)),
            Step::Miss,
        ];
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (subtree(left), subtree(right));
    let start = right[0].0;
    let mut steps = Vec::with_capacity(below.len() + above.len() + 2);
    match u8::try_from(below.len()) {
        Ok(jt) => {
            steps.push(Step::Plain(Instruction { code: JUMP_GREATER_EQUAL, jt, jf: 0, k: start }));
        }
        // A comparison reaches 255 instructions; a plain jump reaches all.
        Err(_) => {
            steps.push(Step::Plain(Instruction {
                code: JUMP_GREATER_EQUAL,
                jt: 0,
                jf: 1,
                k: start,
            }));
            steps.push(Step::Plain(statement(JUMP, distance(0, below.len()))));
        }
    }
    steps.extend(below);
    steps.extend(above);
    steps
}

fn distance(from: usize, to: usize) -> u32 {
    u32::try_from(to - from).expect("a program is far shorter than 2^32 instructions")
}

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}
