//! Bytes, checked by hand against `linux/netfilter/nf_tables.h` and what `nft --debug=mnl` sends.
//! Little-endian header fields, network byte order inside nftables attributes.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::NftError;
use super::arp_silence::rules;
use super::ruleset::{ELEMENTS_PER_MESSAGE, Family, Field, KeyType, Table};
use super::ruleset::{Expression, Hook};
use super::wire::{Answer, Batch, messages};

const TABLE: Table = Table { family: Family::Arp, name: "vipgate" };

/// The bytes of a text such as `"0c00 0100 | names in bars are comments"`.
fn bytes(lines: &[&str]) -> Vec<u8> {
    let digits: Vec<u8> = lines
        .iter()
        .flat_map(|line| line.split('|').next().unwrap_or_default().bytes())
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| char::from(digit).to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The one message between the begin and the end of a batch.
fn message(fill: impl FnOnce(&mut Batch)) -> Vec<u8> {
    let mut batch = Batch::new(1);
    fill(&mut batch);
    let (batch, _) = batch.finish();
    batch[20..batch.len() - 20].to_vec()
}

#[test]
fn a_batch_is_begin_messages_end_and_the_last_message_asks_for_an_answer() {
    let mut batch = Batch::new(7);
    batch.add_table(TABLE);
    batch.delete_table(TABLE);
    let (bytes_out, last) = batch.finish();
    assert_eq!(last, 9);
    let expected = bytes(&[
        "14000000 1000 0100 07000000 00000000 | NFNL_MSG_BATCH_BEGIN, REQUEST, sequence 7",
        "00 00 000a                           | resource: nftables, network order",
        "28000000 000a 0104 08000000 00000000 | NFT_MSG_NEWTABLE, REQUEST|CREATE",
        "03 00 0000                           | NFPROTO_ARP",
        "0c00 0100 7669706761746500           | NFTA_TABLE_NAME",
        "0800 0200 00000000                   | NFTA_TABLE_FLAGS",
        "20000000 020a 0500 09000000 00000000 | NFT_MSG_DELTABLE, REQUEST|ACK",
        "03 00 0000",
        "0c00 0100 7669706761746500",
        "14000000 1100 0100 0a000000 00000000 | NFNL_MSG_BATCH_END",
        "00 00 000a",
    ]);
    assert_eq!(bytes_out, expected);
}

#[test]
fn a_set_of_ipv4_addresses() {
    let expected = bytes(&[
        "4c000000 090a 0504 02000000 00000000 | NFT_MSG_NEWSET, REQUEST|ACK|CREATE",
        "03 00 0000",
        "0c00 0100 7669706761746500           | NFTA_SET_TABLE",
        "0900 0200 7669707300 000000          | NFTA_SET_NAME, padded",
        "0800 0300 00000000                   | NFTA_SET_FLAGS",
        "0800 0400 00000007                   | NFTA_SET_KEY_TYPE: ipv4_addr",
        "0800 0500 00000004                   | NFTA_SET_KEY_LEN",
        "0800 0a00 00000001                   | NFTA_SET_ID",
    ]);
    assert_eq!(message(|batch| batch.add_set(TABLE, "vips", KeyType::Ipv4)), expected);
}

#[test]
fn a_chain_on_the_arp_output_hook() {
    let expected = bytes(&[
        "48000000 030a 0504 02000000 00000000 | NFT_MSG_NEWCHAIN",
        "03 00 0000",
        "0c00 0100 7669706761746500           | NFTA_CHAIN_TABLE",
        "0800 0300 6f757400                   | NFTA_CHAIN_NAME",
        "1400 0480                            | NFTA_CHAIN_HOOK, nested",
        "0800 0100 00000001                   | NFTA_HOOK_HOOKNUM: NF_ARP_OUT",
        "0800 0200 ffffffff                   | NFTA_HOOK_PRIORITY: -1",
        "0b00 0700 66696c74657200 00          | NFTA_CHAIN_TYPE",
    ]);
    assert_eq!(message(|batch| batch.add_chain(TABLE, "out", Hook::ArpOutput, -1)), expected);
}

#[test]
fn set_elements() {
    let expected = bytes(&[
        "50000000 0c0a 0504 02000000 00000000 | NFT_MSG_NEWSETELEM",
        "03 00 0000",
        "0c00 0100 7669706761746500           | NFTA_SET_ELEM_LIST_TABLE",
        "0900 0200 7669707300 000000          | NFTA_SET_ELEM_LIST_SET",
        "2400 0380                            | NFTA_SET_ELEM_LIST_ELEMENTS",
        "1000 0180                            | NFTA_LIST_ELEM",
        "0c00 0180                            | NFTA_SET_ELEM_KEY",
        "0800 0100 c0000201                   | NFTA_DATA_VALUE: 192.0.2.1",
        "1000 0180 0c00 0180 0800 0100 c0000202",
    ]);
    let keys = [[192, 0, 2, 1], [192, 0, 2, 2]];
    assert_eq!(message(|batch| batch.add_elements(TABLE, "vips", &keys)), expected);
}

#[test]
fn every_kind_of_expression() {
    let rule = [
        Expression::Payload(Field { offset: 6, len: 2 }),
        Expression::Equal(vec![0, 2]),
        Expression::InSet("vips"),
        Expression::SetPayload(Field { offset: 14, len: 4 }, vec![10, 0, 0, 1]),
        Expression::Drop,
    ];
    let expected = bytes(&[
        "54010000 060a 050c 02000000 00000000 | NFT_MSG_NEWRULE, REQUEST|ACK|CREATE|APPEND",
        "03 00 0000",
        "0c00 0100 7669706761746500           | NFTA_RULE_TABLE",
        "0800 0200 6f757400                   | NFTA_RULE_CHAIN",
        "2c01 0480                            | NFTA_RULE_EXPRESSIONS",
        "3400 0180                            | NFTA_LIST_ELEM",
        "0c00 0100 7061796c6f616400           | NFTA_EXPR_NAME: payload",
        "2400 0280                            | NFTA_EXPR_DATA",
        "0800 0100 00000001                   | NFTA_PAYLOAD_DREG",
        "0800 0200 00000001                   | NFTA_PAYLOAD_BASE: network header",
        "0800 0300 00000006                   | NFTA_PAYLOAD_OFFSET",
        "0800 0400 00000002                   | NFTA_PAYLOAD_LEN",
        "2c00 0180",
        "0800 0100 636d7000                   | cmp",
        "2000 0280",
        "0800 0100 00000001                   | NFTA_CMP_SREG",
        "0800 0200 00000000                   | NFTA_CMP_OP: NFT_CMP_EQ",
        "0c00 0380                            | NFTA_CMP_DATA",
        "0600 0100 0002 0000                  | NFTA_DATA_VALUE, padded",
        "2800 0180",
        "0b00 0100 6c6f6f6b757000 00          | lookup",
        "1800 0280",
        "0900 0100 7669707300 000000          | NFTA_LOOKUP_SET",
        "0800 0200 00000001                   | NFTA_LOOKUP_SREG",
        "2c00 0180",
        "0e00 0100 696d6d65646961746500 0000  | immediate",
        "1800 0280",
        "0800 0100 00000001                   | NFTA_IMMEDIATE_DREG",
        "0c00 0280                            | NFTA_IMMEDIATE_DATA",
        "0800 0100 0a000001",
        "4400 0180",
        "0c00 0100 7061796c6f616400           | payload",
        "3400 0280",
        "0800 0200 00000001",
        "0800 0300 0000000e",
        "0800 0400 00000004",
        "0800 0500 00000001                   | NFTA_PAYLOAD_SREG",
        "0800 0600 00000000                   | NFTA_PAYLOAD_CSUM_TYPE",
        "0800 0700 00000000                   | NFTA_PAYLOAD_CSUM_OFFSET",
        "3000 0180",
        "0e00 0100 696d6d65646961746500 0000",
        "1c00 0280",
        "0800 0100 00000000                   | NFTA_IMMEDIATE_DREG: NFT_REG_VERDICT",
        "1000 0280                            | NFTA_IMMEDIATE_DATA",
        "0c00 0280                            | NFTA_DATA_VERDICT",
        "0800 0100 00000000                   | NFTA_VERDICT_CODE: NF_DROP",
    ]);
    assert_eq!(message(|batch| batch.add_rule(TABLE, "out", &rule)), expected);
}

#[test]
fn element_lists_are_cut_before_an_attribute_overflows() {
    let keys: Vec<[u8; 4]> = (0..2500_u32).map(u32::to_be_bytes).collect();
    let mut batch = Batch::new(1);
    batch.delete_elements(TABLE, "vips", &keys);
    let (bytes, last) = batch.finish();
    let sizes: Vec<usize> =
        messages(&bytes).map(|message| bytes_of_elements(message.sequence, &bytes)).collect();
    assert_eq!(last, 4, "three messages after the begin");
    let full = 16 * ELEMENTS_PER_MESSAGE;
    assert_eq!(sizes, [0, full, full, 16 * 500, 0]);
}

/// Length of the message with that number, less what every such message has.
fn bytes_of_elements(sequence: u32, batch: &[u8]) -> usize {
    let mut rest = batch;
    loop {
        let len = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
        if rest[8..12] == sequence.to_ne_bytes() {
            return if len == 20 { 0 } else { len - 48 };
        }
        rest = &rest[len..];
    }
}

#[test]
fn the_rules_end_with_one_that_no_request_escapes() {
    let senders = BTreeMap::from([("eth0".to_owned(), "192.0.2.7".parse().unwrap())]);
    let rules = rules(&senders);
    assert_eq!(rules.len(), 3);
    assert_eq!(rules[0].last(), Some(&Expression::Drop));
    let mut name = b"eth0".to_vec();
    name.resize(16, 0);
    assert_eq!(rules[1][1], Expression::Equal(name));
    let field = Field { offset: 14, len: 4 };
    assert_eq!(rules[1].last(), Some(&Expression::SetPayload(field, vec![192, 0, 2, 7])));
    assert_eq!(rules[2].last(), Some(&Expression::SetPayload(field, vec![0; 4])));
}

/// A refusal with the kernel's text, capped: the request's header without its body.
fn refusal() -> Vec<u8> {
    bytes(&[
        "3c000000 0200 0003 05000000 39300000 | NLMSG_ERROR, CAPPED|ACK_TLVS, sequence 5, port 12345",
        "feffffff                             | -ENOENT",
        "28000000 0c0a 0504 05000000 00000000 | the request",
        "0f00 0100 6e6f207375636820736574 00  | NLMSGERR_ATTR_MSG, 11 characters, padded",
        "0800 0200 30000000                   | NLMSGERR_ATTR_OFFS",
    ])
}

#[test]
fn answers_are_read() {
    let refusal = refusal();
    let received: Vec<_> = messages(&refusal).collect();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].sequence, 5);
    let answer = Answer { error: Some(Errno::NOENT), text: "no such set".to_owned() };
    assert_eq!(received[0].answer(), Some(answer));

    // Not capped: the attributes come after the whole request, here of 20 bytes.
    let echoed = bytes(&[
        "34000000 0200 0002 05000000 00000000 | NLMSG_ERROR, ACK_TLVS",
        "ffffffff                             | -EPERM",
        "14000000 1000 0100 05000000 00000000 0000000a",
        "0800 0100 6e6f 2100                  | no!",
        "08000000                             | cut attribute",
    ]);
    let answer = messages(&echoed).next().unwrap().answer();
    assert_eq!(answer, Some(Answer { error: Some(Errno::PERM), text: "no!".to_owned() }));

    let fine = bytes(&[
        "24000000 0200 0001 05000000 00000000 | NLMSG_ERROR, CAPPED",
        "00000000                             | it holds",
        "28000000 0c0a 0504 05000000 00000000",
    ]);
    let answer = messages(&fine).next().unwrap().answer();
    assert_eq!(answer, Some(Answer { error: None, text: String::new() }));
}

#[test]
fn notifications_name_their_table() {
    let (batch, _) = {
        let mut batch = Batch::new(1);
        batch.flush_chain(TABLE, "out");
        batch.finish()
    };
    let tables: Vec<_> = messages(&batch).map(|message| message.table()).collect();
    assert_eq!(tables, [None, Some((3, "vipgate".to_owned())), None]);
    let generation = bytes(&[
        "1c000000 0f0a 0000 00000000 00000000 | NFT_MSG_NEWGEN",
        "00 00 0000 0800 0100 00000007        | NFTA_GEN_ID, not a name",
    ]);
    assert_eq!(messages(&generation).next().unwrap().table(), None);
}

#[test]
fn cut_and_lying_messages_are_survived() {
    let mut batch = Batch::new(1);
    batch.add_set(TABLE, "vips", KeyType::Ipv4);
    let whole = [refusal(), batch.finish().0].concat();
    let read = |bytes: &[u8]| {
        let read = messages(bytes).map(|message| (message.answer(), message.table()));
        read.collect::<Vec<_>>().len()
    };
    assert_eq!(read(&whole), 4);
    for len in 0..whole.len() {
        assert!(read(&whole[..len]) <= 4);
    }
    // Every byte wrong in three ways, which covers every length field.
    for at in 0..whole.len() {
        for wrong in [0x00, 0x01, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = wrong;
            read(&bytes);
        }
    }
}

#[test]
fn errors_tell_what_to_check() {
    let text = |errno| NftError::from_errno("install", errno, "its words").to_string();
    assert!(text(Errno::PERM).contains("CAP_NET_ADMIN"));
    assert!(text(Errno::OPNOTSUPP).contains("CONFIG_NF_TABLES_ARP"));
    assert!(text(Errno::NOENT).contains("nft monitor"));
    assert!(text(Errno::INVAL).contains(": its words; `nft list table arp vipgate`"));
}
