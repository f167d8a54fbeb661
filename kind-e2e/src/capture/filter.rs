//! Filters of the classic BPF machine (linux/filter.h): written as pcap-filter(7), compiled by
//! tcpdump, and preceded by "is it this interface".

use std::process::Command;

use anyhow::{Context, Result, ensure};
use socket2::SockFilter;

/// `code`, `jt`, `jf`, `k` of an instruction.
type Instruction = (u16, u8, u8, u32);

const LOAD_WORD_ABSOLUTE: u16 = 0x20;
const LOAD_HALF_ABSOLUTE: u16 = 0x28;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// SKF_AD_OFF + SKF_AD_IFINDEX: an offset that stands for the interface's index.
const INTERFACE_INDEX: u32 = 0xffff_f008;
const ETHER_TYPE: u32 = 12;
const WHOLE: u32 = u32::MAX;

/// The program that accepts nothing.
pub(super) fn nothing() -> [SockFilter; 1] {
    [SockFilter::new(RETURN, 0, 0, 0)]
}

/// The program that accepts frames of the interface `index` that match `filter`.
///
/// # Errors
/// When tcpdump is needed and missing, or does not understand the filter.
pub(super) fn program(index: u32, filter: &str) -> Result<Vec<SockFilter>> {
    let mut program = vec![
        (LOAD_WORD_ABSOLUTE, 0, 0, INTERFACE_INDEX),
        (JUMP_IF_EQUAL, 1, 0, index),
        (RETURN, 0, 0, 0),
    ];
    program.extend(match filter {
        // The two that the demo uses do not need tcpdump.
        "" => vec![(RETURN, 0, 0, WHOLE)],
        "arp" => vec![
            (LOAD_HALF_ABSOLUTE, 0, 0, ETHER_TYPE),
            (JUMP_IF_EQUAL, 0, 1, 0x0806),
            (RETURN, 0, 0, WHOLE),
            (RETURN, 0, 0, 0),
        ],
        other => compile(other)?,
    });
    Ok(program.into_iter().map(|(code, jt, jf, k)| SockFilter::new(code, jt, jf, k)).collect())
}

/// Has tcpdump compile it: `-ddd` prints the number of instructions, then one on each line.
fn compile(filter: &str) -> Result<Vec<Instruction>> {
    let output = Command::new("tcpdump")
        .args(["-ddd", "-y", "EN10MB", "--", filter])
        .output()
        .context("cannot run `tcpdump`, which compiles filters other than \"arp\"")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", complaint.trim());
    parse(&String::from_utf8_lossy(&output.stdout)).context("tcpdump -ddd printed something else")
}

fn parse(printed: &str) -> Option<Vec<Instruction>> {
    let mut lines = printed.lines();
    let count: usize = lines.next()?.trim().parse().ok()?;
    let instructions: Option<Vec<_>> = lines.map(instruction).collect();
    instructions.filter(|all| all.len() == count)
}

fn instruction(line: &str) -> Option<Instruction> {
    let mut fields = line.split_whitespace();
    let instruction = (
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
    );
    fields.next().is_none().then_some(instruction)
}

#[cfg(test)]
mod tests;
