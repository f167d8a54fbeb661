//! Bytes, checked by hand against `linux/netfilter/nf_tables.h` and what `nft --debug=mnl` sends.
//! Little-endian header fields, network byte order inside nftables attributes.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::NftError;
use super::arp_silence::rules;
use super::expression::{Ct, Expression, Field, Header, Meta, Refusal, Register, Rule};
use super::ruleset::{
    Chain, ChainKind, Change, Content, ELEMENTS_PER_MESSAGE, Elements, Family, Hook, Set, Table,
    Type, changes,
};
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

/// A transaction that begins with this number.
fn batch(sequence: u32, changes: &[Change<'_>]) -> (Vec<u8>, u32) {
    let mut batch = Batch::new(sequence);
    changes.iter().for_each(|change| batch.change(change));
    batch.finish()
}

/// The one message between the begin and the end of a batch.
fn message(change: Change<'_>) -> Vec<u8> {
    let (batch, _) = batch(1, &[change]);
    batch[20..batch.len() - 20].to_vec()
}

fn set(elements: &[&[u8]]) -> Set {
    let elements = elements.iter().map(|key| (key.to_vec(), Vec::new())).collect();
    Set { name: "vips", keys: &[Type::Ipv4], values: &[], elements }
}

fn chain(rules: Vec<Rule>) -> Chain {
    let (kind, hook) = (ChainKind::Filter, Hook::ArpOutput);
    Chain { name: "out", kind, hook, priority: -1, rules }
}

const fn field(offset: u32, len: u32) -> Field {
    Field { header: Header::Network, offset, len }
}

#[test]
fn a_batch_is_begin_messages_end_and_the_last_message_asks_for_an_answer() {
    let (bytes_out, last) = batch(7, &[Change::AddTable(TABLE), Change::DeleteTable(TABLE)]);
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
    assert_eq!(message(Change::AddSet(TABLE, &set(&[]))), expected);
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
    assert_eq!(message(Change::AddChain(TABLE, &chain(Vec::new()))), expected);
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
    let keys = vec![(&[192, 0, 2, 1][..], &[][..]), (&[192, 0, 2, 2][..], &[][..])];
    assert_eq!(message(Change::AddElements(TABLE, &set(&[]), keys)), expected);
}

#[test]
fn a_rule_about_arp() {
    let rule = vec![
        Expression::Payload(field(6, 2), Register::FIRST),
        Expression::Equal(vec![0, 2]),
        Expression::InSet("vips"),
        Expression::SetPayload(field(14, 4), vec![10, 0, 0, 1]),
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
    assert_eq!(message(Change::AddRule(TABLE, &chain(Vec::new()), &rule)), expected);
}

const IP6: Table = Table { family: Family::Ip6, name: "vipgate" };

/// A map from places to places: the largest elements there are.
fn map() -> Set {
    let (keys, values) = (&[Type::Ipv6, Type::Protocol, Type::Port], &[Type::Ipv6, Type::Port]);
    Set { name: "own", keys, values, elements: Elements::new() }
}

#[test]
fn a_map_of_concatenations() {
    let expected = bytes(&[
        "58000000 090a 0504 02000000 00000000 | NFT_MSG_NEWSET",
        "0a 00 0000                           | NFPROTO_IPV6",
        "0c00 0100 7669706761746500           | NFTA_SET_TABLE",
        "0800 0200 6f776e00                   | NFTA_SET_NAME",
        "0800 0300 00000008                   | NFTA_SET_FLAGS: NFT_SET_MAP",
        "0800 0400 0000830d                   | NFTA_SET_KEY_TYPE: 8, 12 and 13, of six bits each",
        "0800 0500 00000018                   | NFTA_SET_KEY_LEN: 16 + 4 + 4",
        "0800 0600 0000020d                   | NFTA_SET_DATA_TYPE: 8 and 13",
        "0800 0700 00000014                   | NFTA_SET_DATA_LEN: 16 + 4",
        "0800 0a00 00000001                   | NFTA_SET_ID",
    ]);
    assert_eq!(message(Change::AddSet(IP6, &map())), expected);
}

/// One rule with all that the guard and the maps are made of.
#[test]
fn a_rule_about_ip() {
    let rule = vec![
        Expression::Ct(Ct::Status),
        Expression::And(vec![0x20, 0, 0, 0]),
        Expression::NotEqual(vec![0; 4]),
        Expression::KindOfDestination,
        Expression::NotInSet("vips"),
        Expression::Meta(Meta::Protocol, Register::behind(4)),
        Expression::Mapped("own"),
        Expression::DestinationNat(Family::Ip6 as u8, Register::behind(4)),
        Expression::Reject(Refusal::Unreachable(4)),
        Expression::Reject(Refusal::Reset),
        Expression::Accept,
    ];
    let expected = bytes(&[
        "0c020000 060a 050c 02000000 00000000 | NFT_MSG_NEWRULE",
        "0a 00 0000",
        "0c00 0100 7669706761746500 0800 0200 6f757400",
        "e401 0480                            | NFTA_RULE_EXPRESSIONS",
        "2000 0180 0700 0100 63740000         | ct",
        "1400 0280",
        "0800 0100 00000001                   | NFTA_CT_DREG",
        "0800 0200 00000002                   | NFTA_CT_KEY: NFT_CT_STATUS",
        "4400 0180 0c00 0100 6269747769736500 | bitwise",
        "3400 0280",
        "0800 0100 00000001 0800 0200 00000001 | NFTA_BITWISE_SREG, NFTA_BITWISE_DREG",
        "0800 0300 00000004                   | NFTA_BITWISE_LEN",
        "0c00 0480 0800 0100 20000000         | NFTA_BITWISE_MASK",
        "0c00 0580 0800 0100 00000000         | NFTA_BITWISE_XOR",
        "2c00 0180 0800 0100 636d7000         | cmp",
        "2000 0280",
        "0800 0100 00000001",
        "0800 0200 00000001                   | NFTA_CMP_OP: NFT_CMP_NEQ",
        "0c00 0380 0800 0100 00000000",
        "2800 0180 0800 0100 66696200         | fib",
        "1c00 0280",
        "0800 0100 00000001                   | NFTA_FIB_DREG",
        "0800 0200 00000003                   | NFTA_FIB_RESULT: NFT_FIB_RESULT_ADDRTYPE",
        "0800 0300 00000002                   | NFTA_FIB_FLAGS: NFTA_FIB_F_DADDR",
        "3000 0180 0b00 0100 6c6f6f6b757000 00",
        "2000 0280",
        "0900 0100 7669707300 000000 0800 0200 00000001",
        "0800 0500 00000001                   | NFTA_LOOKUP_FLAGS: NFT_LOOKUP_F_INV",
        "2400 0180 0900 0100 6d65746100 000000 | meta",
        "1400 0280",
        "0800 0100 0000000c                   | NFTA_META_DREG: NFT_REG32_04",
        "0800 0200 00000010                   | NFTA_META_KEY: NFT_META_L4PROTO",
        "2c00 0180 0b00 0100 6c6f6f6b757000 00",
        "1c00 0280",
        "0800 0100 6f776e00 0800 0200 00000001",
        "0800 0300 00000001                   | NFTA_LOOKUP_DREG",
        "3000 0180 0800 0100 6e617400         | nat",
        "2400 0280",
        "0800 0100 00000001                   | NFTA_NAT_TYPE: NFT_NAT_DNAT",
        "0800 0200 0000000a                   | NFTA_NAT_FAMILY",
        "0800 0300 00000001                   | NFTA_NAT_REG_ADDR_MIN",
        "0800 0500 0000000c                   | NFTA_NAT_REG_PROTO_MIN",
        "2400 0180 0b00 0100 72656a65637400 00 | reject",
        "1400 0280",
        "0800 0100 00000000                   | NFTA_REJECT_TYPE: NFT_REJECT_ICMP_UNREACH",
        "0500 0200 04000000                   | NFTA_REJECT_ICMP_CODE",
        "2400 0180 0b00 0100 72656a65637400 00",
        "1400 0280 0800 0100 00000001 0500 0200 00000000 | NFT_REJECT_TCP_RST",
        "3000 0180 0e00 0100 696d6d65646961746500 0000",
        "1c00 0280 0800 0100 00000000 1000 0280 0c00 0280",
        "0800 0100 00000001                   | NFTA_VERDICT_CODE: NF_ACCEPT",
    ]);
    assert_eq!(message(Change::AddRule(IP6, &chain(Vec::new()), &rule)), expected);
}

#[test]
fn the_largest_list_of_elements_fits_into_an_attribute() {
    let mut places = map();
    for number in 0..2500_u32 {
        let place = [&[0; 12][..], &number.to_be_bytes()].concat();
        let key = [&place[..], &[6, 0, 0, 0, 0, 80, 0, 0]].concat();
        places.elements.insert(key, [&place[..], &[0, 80, 0, 0]].concat());
    }
    let content = Content { table: IP6, sets: vec![places], chains: Vec::new() };
    let none = Content { table: IP6, sets: vec![map()], chains: Vec::new() };
    let lists = |old: &Content, new: &Content| -> Vec<usize> {
        let (old, new) = ([old.clone()], [new.clone()]);
        let changes = changes(&old, &new);
        changes.into_iter().map(|change| message(change).len() - 44).collect()
    };
    let sizes = |each: usize| {
        [each * ELEMENTS_PER_MESSAGE, each * ELEMENTS_PER_MESSAGE, each * 500].to_vec()
    };
    assert_eq!(lists(&none, &content), sizes(64));
    assert_eq!(lists(&content, &none), sizes(36), "a key is enough to delete");
}

#[test]
fn only_what_differs_is_changed() {
    let content = |vips: &[&[u8]], rules: Vec<Rule>| {
        [Content { table: TABLE, sets: vec![set(vips)], chains: vec![chain(rules)] }]
    };
    let (drop, accept) = (vec![Expression::Drop], vec![Expression::Accept]);
    let old = content(&[b"aaaa", b"bbbb"], vec![drop.clone()]);
    assert_eq!(changes(&old, &old), []);

    let new = content(&[b"bbbb", b"cccc"], vec![accept.clone(), drop.clone()]);
    let [Content { sets, chains, .. }] = &new;
    let expected = [
        Change::Flush(TABLE, &chains[0]),
        Change::AddRule(TABLE, &chains[0], &accept),
        Change::AddRule(TABLE, &chains[0], &drop),
        Change::DeleteElements(TABLE, &sets[0], vec![(b"aaaa", b"")]),
        Change::AddElements(TABLE, &sets[0], vec![(b"cccc", b"")]),
    ];
    assert_eq!(changes(&old, &new), expected);

    // Parts go after all that may refer to them, and a table with all it has.
    let bare = [Content { table: TABLE, sets: Vec::new(), chains: Vec::new() }];
    let [Content { sets, chains, .. }] = &old;
    let gone = [
        Change::Flush(TABLE, &chains[0]),
        Change::DeleteChain(TABLE, &chains[0]),
        Change::DeleteSet(TABLE, &sets[0]),
    ];
    assert_eq!(changes(&old, &bare), gone);
    let came = [
        Change::AddSet(TABLE, &sets[0]),
        Change::AddChain(TABLE, &chains[0]),
        Change::AddRule(TABLE, &chains[0], &drop),
        Change::AddElements(TABLE, &sets[0], vec![(b"aaaa", b""), (b"bbbb", b"")]),
    ];
    assert_eq!(changes(&bare, &old), came);
    let anew = [&[Change::AddTable(TABLE)][..], &came].concat();
    assert_eq!(changes(&[], &old), anew);
    assert_eq!(changes(&old, &[]), [Change::DeleteTable(TABLE)]);
}

#[test]
fn a_map_that_leads_elsewhere_forgets_first() {
    let leads = |to: &[u8]| {
        let mut map = map();
        map.elements = [(b"here".to_vec(), to.to_vec()), (b"stays".to_vec(), vec![1])].into();
        [Content { table: IP6, sets: vec![map], chains: Vec::new() }]
    };
    let (old, new) = (leads(b"there"), leads(b"elsewhere"));
    let [Content { sets, .. }] = &new;
    let expected = [
        Change::DeleteElements(IP6, &sets[0], vec![(b"here", b"")]),
        Change::AddElements(IP6, &sets[0], vec![(b"here", b"elsewhere")]),
    ];
    assert_eq!(changes(&old, &new), expected);
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
    let field = field(14, 4);
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
    let (batch, _) = batch(1, &[Change::Flush(TABLE, &chain(Vec::new()))]);
    let tables: Vec<_> = messages(&batch).map(|message| message.table()).collect();
    assert_eq!(tables, [None, Some((3, "vipgate".to_owned())), None]);
    let generation = bytes(&[
        "1c000000 0f0a 0000 00000000 00000000 | NFT_MSG_NEWGEN",
        "00 00 0000 0800 0100 00000007        | NFTA_GEN_ID, not a name",
    ]);
    assert_eq!(messages(&generation).next().unwrap().table(), None);
}

#[test]
fn a_chain_that_rewrites_is_noticed() {
    let table = |kind| {
        let chain = Chain { kind, hook: Hook::Output, ..chain(Vec::new()) };
        let (batch, _) = batch(1, &[Change::AddChain(TABLE, &chain)]);
        messages(&batch).map(|message| message.nat_chain()).collect::<Vec<_>>()
    };
    assert_eq!(table(ChainKind::Filter), [None, None, None]);
    assert_eq!(table(ChainKind::Nat), [None, Some("vipgate".to_owned()), None]);
}

#[test]
fn cut_and_lying_messages_are_survived() {
    let nat = Chain { kind: ChainKind::Nat, hook: Hook::Output, ..chain(Vec::new()) };
    let whole = [refusal(), batch(1, &[Change::AddChain(TABLE, &nat)]).0].concat();
    let read = |bytes: &[u8]| {
        let read =
            messages(bytes).map(|message| (message.answer(), message.table(), message.nat_chain()));
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
    assert!(text(Errno::INVAL).contains(": its words; `nft list ruleset`"));
}
