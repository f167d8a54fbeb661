//! The kernel filter of a packet socket: a classic BPF program that passes ARP or NDP about our addresses.
//!
//! A frame passes when it is ARP for IPv4 over Ethernet, a request or reply, or a neighbour solicitation
//! or advertisement with a hop limit of 255; not meant for another station or VLAN; and its target or
//! sender address is in the set. Everything else on a busy segment costs this process nothing.
//!
//! Addresses are merged into ranges, which are searched like a balanced tree, once for the target
//! and once for the sender: classic BPF can jump forward only. Its words have 32 bits, so IPv6
//! addresses are ranges in blocks that have the first 96 bits in common. A program has at most
//! [`MAX_LEN`] instructions; a set that needs more is widened: all blocks become one, which is about
//! the last 32 bits of any address, and the smallest gaps are closed. User space, which checks exactly
//! anyway, drops the surplus.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::frame::Protocol;

/// Instructions the kernel accepts (`BPF_MAXINSNS`).
pub const MAX_LEN: usize = 4096;
/// Ranges that always fit, at eight instructions each and a few long jumps. A block of IPv6 addresses
/// counts as [`BLOCK_COST`] more.
pub const MAX_RANGES: usize = 500;
/// What a block costs, in ranges.
pub const BLOCK_COST: usize = 4;
/// Bytes of a passing frame that are handed over; what is read of it are [`super::arp::FRAME_LEN`].
pub const ARP_SNAP_LEN: u32 = 64;
/// The same for NDP, where all of a message is needed for its checksum. One longer than that has options
/// that nobody sends, and is dropped.
pub const NDP_SNAP_LEN: u32 = 512;
/// The longer of the two.
pub const LONGEST_SNAP: u32 = NDP_SNAP_LEN;

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

/// Passes on only if the field at an offset has one of these values.
type Condition = (u16, u32, &'static [u32]);

/// Where a protocol has what the filter looks at.
struct Layout {
    conditions: &'static [Condition],
    target_at: u32,
    sender_at: u32,
    /// Words of an address.
    words: u32,
    snap_len: u32,
}

/// EtherType; hardware and protocol; lengths of addresses; operation.
const ARP: Layout = Layout {
    conditions: &[
        (LOAD_HALF, 12, &[0x0806]),
        (LOAD_WORD, 14, &[0x0001_0800]),
        (LOAD_HALF, 18, &[0x0604]),
        (LOAD_HALF, 20, &[1, 2]),
    ],
    target_at: 38,
    sender_at: 28,
    words: 1,
    snap_len: ARP_SNAP_LEN,
};

/// EtherType; next header and hop limit; type and code.
const NDP: Layout = Layout {
    conditions: &[
        (LOAD_HALF, 12, &[0x86dd]),
        (LOAD_HALF, 20, &[0x3aff]),
        (LOAD_HALF, 54, &[0x8700, 0x8800]),
    ],
    target_at: 62,
    sender_at: 22,
    words: 4,
    snap_len: NDP_SNAP_LEN,
};

/// The program that passes nothing.
pub fn drop_all() -> Vec<Instruction> {
    vec![statement(RETURN, 0)]
}

/// The program that passes frames about these addresses; about others too if they form more than
/// `max_ranges` ranges (at most [`MAX_RANGES`], and a kernel may be short of memory for that many).
/// Addresses of the other protocol are not looked at.
pub fn program(
    protocol: Protocol,
    addresses: &BTreeSet<IpAddr>,
    max_ranges: usize,
) -> Vec<Instruction> {
    let addresses = addresses.iter().filter(|address| Protocol::of(**address) == protocol);
    let blocks = blocks(addresses, max_ranges.clamp(1, MAX_RANGES));
    if blocks.is_empty() {
        return drop_all();
    }
    let layout = match protocol {
        Protocol::Arp => &ARP,
        Protocol::Ndp => &NDP,
    };
    let mut program = Vec::new();
    for (load, at, values) in layout.conditions {
        require(&mut program, *load, *at, values);
    }
    // All packet types but one.
    program.push(statement(LOAD_WORD, PACKET_TYPE));
    program.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: 1, k: OTHER_HOST });
    program.push(statement(RETURN, 0));

    // Not found as target: go on to the search for the sender, which comes after the first one.
    let target = lookup(&blocks, layout, layout.target_at);
    let after_target = target.len();
    program.extend(resolve(target, |at| statement(JUMP, distance(at + 1, after_target))));
    let sender = lookup(&blocks, layout, layout.sender_at);
    program.extend(resolve(sender, |_| statement(RETURN, 0)));
    program
}

/// Addresses with the same words before the last, none of which are compared where there are none, and
/// the ranges of their last words.
type Blocks = BTreeMap<Vec<u32>, Ranges>;

fn blocks<'a>(addresses: impl Iterator<Item = &'a IpAddr>, limit: usize) -> Blocks {
    let mut members: BTreeMap<Vec<u32>, BTreeSet<u32>> = BTreeMap::new();
    for address in addresses {
        let (prefix, last) = split(*address);
        members.entry(prefix).or_default().insert(last);
    }
    let blocks: Blocks =
        members.iter().map(|(prefix, last)| (prefix.clone(), coalesce(last))).collect();
    let cost = |(prefix, ranges): (&Vec<u32>, &Ranges)| {
        ranges.len() + if prefix.is_empty() { 0 } else { BLOCK_COST }
    };
    if blocks.iter().map(cost).sum::<usize>() <= limit {
        return blocks;
    }
    let all: BTreeSet<u32> = members.into_values().flatten().collect();
    BTreeMap::from([(Vec::new(), widen(coalesce(&all), limit))])
}

/// The words of an address before the last, and that.
fn split(address: IpAddr) -> (Vec<u32>, u32) {
    match address {
        IpAddr::V4(address) => (Vec::new(), address.into()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let word = |n: u32| u32::try_from(bits >> (96 - 32 * n) & 0xffff_ffff);
            let word = |n| word(n).expect("32 bits");
            (vec![word(0), word(1), word(2)], word(3))
        }
    }
}

/// Inclusive ranges of words, in order, with at least one word between any two.
type Ranges = Vec<(u32, u32)>;

fn coalesce(words: &BTreeSet<u32>) -> Ranges {
    let mut ranges: Ranges = Vec::new();
    for word in words.iter().copied() {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == word => *end = word,
            _ => ranges.push((word, word)),
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

/// The search for the address at an offset, which returns from the program when it is found.
fn lookup(blocks: &Blocks, layout: &Layout, at: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    for (number, (prefix, ranges)) in blocks.iter().enumerate() {
        let mut block = Vec::new();
        let mut offset = at;
        for word in prefix {
            block.push(Step::Plain(statement(LOAD_WORD, offset)));
            block.push(Step::Plain(Instruction { code: JUMP_EQUAL, jt: 1, jf: 0, k: *word }));
            block.push(Step::Miss);
            offset += 4;
        }
        block.push(Step::Plain(statement(LOAD_WORD, at + 4 * (layout.words - 1))));
        block.extend(search(ranges, layout.snap_len));
        if number + 1 == blocks.len() {
            steps.extend(block);
        } else {
            // Not in this block: go on to the next, which comes behind it.
            let next = block.len();
            let missed = |at: usize| statement(JUMP, distance(at + 1, next));
            steps.extend(resolve(block, missed).into_iter().map(Step::Plain));
        }
    }
    steps
}

/// The steps as instructions, with these where the address was not found.
fn resolve(steps: Vec<Step>, missed: impl Fn(usize) -> Instruction) -> Vec<Instruction> {
    let resolved = steps.into_iter().enumerate().map(|(at, step)| match step {
        Step::Plain(instruction) => instruction,
        Step::Miss => missed(at),
    });
    resolved.collect()
}

/// The search for `A` in the ranges, which returns from the program when it is found.
fn search(ranges: &[(u32, u32)], snap_len: u32) -> Vec<Step> {
    let lowest = ranges[0].0;
    let mut steps = vec![
        Step::Plain(Instruction { code: JUMP_GREATER_EQUAL, jt: 1, jf: 0, k: lowest }),
        Step::Miss,
    ];
    steps.extend(subtree(ranges, snap_len));
    steps
}

/// The search in ranges of which it is known that `A` is not below the first.
fn subtree(ranges: &[(u32, u32)], snap_len: u32) -> Vec<Step> {
    if let [(_, end)] = ranges {
        return vec![
            Step::Plain(Instruction { code: JUMP_GREATER, jt: 1, jf: 0, k: *end }),
            Step::Plain(statement(RETURN, snap_len)),
            Step::Miss,
        ];
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (subtree(left, snap_len), subtree(right, snap_len));
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
