//! nftables in types: tables with their sets, chains and rules, and how one state of them becomes
//! another.
//!
//! Pure. Only what vipgate's tables use is here, but in the kernel's own terms. What a table is to
//! hold is said as a whole ([`Content`]); [`changes`] finds what to tell the kernel. Constants:
//! `linux/netfilter/nf_tables.h`.

use std::collections::BTreeMap;
use std::fmt;

use super::expression::{LIST_ELEM, Rule, data};
use super::wire::{Attributes, Batch, NLM_F_APPEND, NLM_F_CREATE};

const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_DELCHAIN: u8 = 5;
const NFT_MSG_NEWRULE: u8 = 6;
const NFT_MSG_DELRULE: u8 = 8;
const NFT_MSG_NEWSET: u8 = 9;
const NFT_MSG_DELSET: u8 = 11;
const NFT_MSG_NEWSETELEM: u8 = 12;
const NFT_MSG_DELSETELEM: u8 = 14;

/// Longest list of set elements in one message. An attribute holds at most 64 KiB, and the largest
/// element, of a map from IPv6 addresses and ports to such, takes 64 bytes.
pub(super) const ELEMENTS_PER_MESSAGE: usize = 1000;

/// Protocol family of a table (`NFPROTO_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::host) enum Family {
    /// IPv4 packets.
    Ip = 2,
    /// ARP packets.
    Arp = 3,
    /// IPv6 packets.
    Ip6 = 10,
}

impl Family {
    /// Those that we have a table of.
    pub(super) const ALL: [Self; 3] = [Self::Arp, Self::Ip, Self::Ip6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Arp => "arp",
            Self::Ip6 => "ip6",
        })
    }
}

/// A table by family and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    /// What it filters.
    pub(super) family: Family,
    /// Its name within the family.
    pub(super) name: &'static str,
}

/// Type of keys and values, by the number that `nft` prints them by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// `ipv4_addr`.
    Ipv4 = 7,
    /// `ipv6_addr`.
    Ipv6 = 8,
    /// `inet_proto`.
    Protocol = 12,
    /// `inet_service`, in network byte order.
    Port = 13,
    /// `icmp_type`.
    Icmp = 14,
    /// `icmpv6_type`.
    Icmp6 = 29,
}

impl Type {
    fn len(self) -> u32 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
            Self::Port => 2,
            Self::Protocol | Self::Icmp | Self::Icmp6 => 1,
        }
    }
}

/// The number and length of a concatenation, whose parts are padded to four bytes each.
fn concatenated(parts: &[Type]) -> (u32, u32) {
    match parts {
        [one] => (*one as u32, one.len()),
        parts => parts.iter().fold((0, 0), |(number, len), part| {
            (number << 6 | *part as u32, len + part.len().next_multiple_of(4))
        }),
    }
}

/// A set, or a map if there is a type of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// What the parts of a key are.
    pub(super) keys: &'static [Type],
    /// What the parts of a value are; none in a set.
    pub(super) values: &'static [Type],
    /// The keys, with their values; those of a set are empty.
    pub(super) elements: Elements,
}

/// Keys and values as the kernel has them.
pub(super) type Elements = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainKind {
    /// Let pass or not.
    Filter,
    /// Change where a connection goes; sees its first packet only.
    Nat,
}

/// Where in the path of a packet a chain sits; the numbers are those of the chain's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// IP packets as they come in, before it is known where to (`NF_INET_PRE_ROUTING`).
    Prerouting,
    /// IP packets to this host (`NF_INET_LOCAL_IN`).
    Input,
    /// IP packets of this host (`NF_INET_LOCAL_OUT`).
    Output,
    /// ARP packets that this host sends (`NF_ARP_OUT`).
    ArpOutput,
}

/// A chain that the kernel calls; it accepts what no rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// What it may do.
    pub(super) kind: ChainKind,
    /// Where.
    pub(super) hook: Hook,
    /// Its place among the chains there, lower first.
    pub(super) priority: i32,
    /// In their order.
    pub(super) rules: Vec<Rule>,
}

/// All that a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// Which table.
    pub(super) table: Table,
    /// The order is that of filling.
    pub(super) sets: Vec<Set>,
    /// Its chains.
    pub(super) chains: Vec<Chain>,
}

/// One message to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// Makes the table unless it is there.
    AddTable(Table),
    /// Deletes the table with all it holds; fails if it is not there.
    DeleteTable(Table),
    /// Makes a set, empty.
    AddSet(Table, &'a Set),
    /// Deletes a set that no rule looks into.
    DeleteSet(Table, &'a Set),
    /// Makes a chain, empty.
    AddChain(Table, &'a Chain),
    /// Deletes a chain, which must be empty.
    DeleteChain(Table, &'a Chain),
    /// Appends a rule to the chain.
    AddRule(Table, &'a Chain, &'a Rule),
    /// Deletes all rules of the chain.
    Flush(Table, &'a Chain),
    /// Puts elements into the set; those it has already stay.
    AddElements(Table, &'a Set, Vec<Element<'a>>),
    /// Takes elements out of the set; fails if one is not there.
    DeleteElements(Table, &'a Set, Vec<Element<'a>>),
}

/// A key with its value.
pub(super) type Element<'a> = (&'a [u8], &'a [u8]);

/// What makes `new` of `old`, in an order in which each change finds what it needs: what is made
/// first, then elements, then what goes.
pub(super) fn changes<'a>(old: &'a [Content], new: &'a [Content]) -> Vec<Change<'a>> {
    let mut changes = Vec::new();
    let pairs: Vec<_> = new.iter().map(|new| (of_table(old, new.table), new)).collect();
    for (old, new) in &pairs {
        make(*old, new, &mut changes);
    }
    for (old, new) in &pairs {
        for set in &new.sets {
            fill(new.table, old.and_then(|old| set_of(old, set)), set, &mut changes);
        }
    }
    for (old, new) in &pairs {
        if let Some(old) = old {
            unmake(old, new, &mut changes);
        }
    }
    let gone = old.iter().filter(|old| of_table(new, old.table).is_none());
    changes.extend(gone.map(|old| Change::DeleteTable(old.table)));
    changes
}

fn of_table(contents: &[Content], table: Table) -> Option<&Content> {
    contents.iter().find(|content| content.table == table)
}

fn set_of<'a>(content: &'a Content, set: &Set) -> Option<&'a Set> {
    content.sets.iter().find(|other| other.name == set.name)
}

fn chain_of<'a>(content: &'a Content, chain: &Chain) -> Option<&'a Chain> {
    content.chains.iter().find(|other| other.name == chain.name)
}

/// Tables, sets, chains and rules that are new.
fn make<'a>(old: Option<&'a Content>, new: &'a Content, changes: &mut Vec<Change<'a>>) {
    let table = new.table;
    if old.is_none() {
        changes.push(Change::AddTable(table));
    }
    let missing = |set: &&Set| old.and_then(|old| set_of(old, set)).is_none();
    changes.extend(new.sets.iter().filter(missing).map(|set| Change::AddSet(table, set)));
    for chain in &new.chains {
        match old.and_then(|old| chain_of(old, chain)) {
            Some(same) if same.rules == chain.rules => continue,
            Some(_) => changes.push(Change::Flush(table, chain)),
            None => changes.push(Change::AddChain(table, chain)),
        }
        changes.extend(chain.rules.iter().map(|rule| Change::AddRule(table, chain, rule)));
    }
}

/// Elements that came, went, or have another value, which means both.
fn fill<'a>(table: Table, old: Option<&'a Set>, new: &'a Set, changes: &mut Vec<Change<'a>>) {
    fn without<'a>(some: &'a Elements, others: Option<&Elements>) -> Vec<Element<'a>> {
        let differs = |(key, value): &(&Vec<u8>, &Vec<u8>)| {
            others.and_then(|others| others.get(*key)) != Some(*value)
        };
        some.iter().filter(differs).map(|(key, value)| (&**key, &**value)).collect()
    }
    let gone = old.map(|old| without(&old.elements, Some(&new.elements))).unwrap_or_default();
    // The key alone says which.
    let gone = gone.into_iter().map(|(key, _)| (key, &[][..])).collect();
    let came = without(&new.elements, old.map(|old| &old.elements));
    let cut = |elements: Vec<Element<'a>>| -> Vec<Vec<Element<'a>>> {
        elements.chunks(ELEMENTS_PER_MESSAGE).map(<[_]>::to_vec).collect()
    };
    changes.extend(cut(gone).into_iter().map(|some| Change::DeleteElements(table, new, some)));
    changes.extend(cut(came).into_iter().map(|some| Change::AddElements(table, new, some)));
}

/// Chains and sets that are not wanted any more.
fn unmake<'a>(old: &'a Content, new: &Content, changes: &mut Vec<Change<'a>>) {
    let table = old.table;
    for chain in old.chains.iter().filter(|chain| chain_of(new, chain).is_none()) {
        changes.extend([Change::Flush(table, chain), Change::DeleteChain(table, chain)]);
    }
    let gone = old.sets.iter().filter(|set| set_of(new, set).is_none());
    changes.extend(gone.map(|set| Change::DeleteSet(table, set)));
}

impl Batch {
    /// Adds a message.
    pub(super) fn change(&mut self, change: &Change<'_>) {
        match change {
            Change::AddTable(table) => {
                self.object(NFT_MSG_NEWTABLE, NLM_F_CREATE, *table, |attributes| {
                    attributes.number(2 /* NFTA_TABLE_FLAGS */, 0);
                });
            }
            Change::DeleteTable(table) => self.object(NFT_MSG_DELTABLE, 0, *table, |_| {}),
            Change::AddSet(table, set) => self.add_set(*table, set),
            Change::DeleteSet(table, set) => self.object(NFT_MSG_DELSET, 0, *table, |attributes| {
                attributes.string(2 /* NFTA_SET_NAME */, set.name);
            }),
            Change::AddChain(table, chain) => self.add_chain(*table, chain),
            Change::DeleteChain(table, chain) => {
                self.object(NFT_MSG_DELCHAIN, 0, *table, |attributes| {
                    attributes.string(3 /* NFTA_CHAIN_NAME */, chain.name);
                });
            }
            Change::AddRule(table, chain, rule) => self.add_rule(*table, chain.name, rule),
            Change::Flush(table, chain) => self.object(NFT_MSG_DELRULE, 0, *table, |attributes| {
                attributes.string(2 /* NFTA_RULE_CHAIN */, chain.name);
            }),
            Change::AddElements(table, set, elements) => {
                self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, *table, set, elements);
            }
            Change::DeleteElements(table, set, elements) => {
                self.elements(NFT_MSG_DELSETELEM, 0, *table, set, elements);
            }
        }
    }

    fn add_set(&mut self, table: Table, set: &Set) {
        let (kind, len) = concatenated(set.keys);
        let map = !set.values.is_empty();
        self.object(NFT_MSG_NEWSET, NLM_F_CREATE, table, |attributes| {
            attributes.string(2 /* NFTA_SET_NAME */, set.name);
            attributes.number(
                3, /* NFTA_SET_FLAGS */
                if map {
                    8 /* NFT_SET_MAP */
                } else {
                    0
                },
            );
            attributes.number(4 /* NFTA_SET_KEY_TYPE */, kind);
            attributes.number(5 /* NFTA_SET_KEY_LEN */, len);
            if map {
                let (kind, len) = concatenated(set.values);
                attributes.number(6 /* NFTA_SET_DATA_TYPE */, kind);
                attributes.number(7 /* NFTA_SET_DATA_LEN */, len);
            }
            // Refers to the set within this transaction; required, though we refer by name.
            attributes.number(10 /* NFTA_SET_ID */, 1);
        });
    }

    fn add_chain(&mut self, table: Table, chain: &Chain) {
        let hook = match chain.hook {
            Hook::Prerouting => 0,
            Hook::Input | Hook::ArpOutput => 1,
            Hook::Output => 3,
        };
        let kind = match chain.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        };
        self.object(NFT_MSG_NEWCHAIN, NLM_F_CREATE, table, |attributes| {
            attributes.string(3 /* NFTA_CHAIN_NAME */, chain.name);
            attributes.nest(4 /* NFTA_CHAIN_HOOK */, |hooked| {
                hooked.number(1 /* NFTA_HOOK_HOOKNUM */, hook);
                hooked.bytes(2 /* NFTA_HOOK_PRIORITY */, &chain.priority.to_be_bytes());
            });
            attributes.string(7 /* NFTA_CHAIN_TYPE */, kind);
        });
    }

    fn add_rule(&mut self, table: Table, chain: &str, rule: &Rule) {
        self.object(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, table, |attributes| {
            attributes.string(2 /* NFTA_RULE_CHAIN */, chain);
            attributes.nest(4 /* NFTA_RULE_EXPRESSIONS */, |list| {
                for expression in rule {
                    expression.write(list);
                }
            });
        });
    }

    fn elements(
        &mut self,
        message: u8,
        flags: u16,
        table: Table,
        set: &Set,
        elements: &[Element<'_>],
    ) {
        self.object(message, flags, table, |attributes| {
            attributes.string(2 /* NFTA_SET_ELEM_LIST_SET */, set.name);
            attributes.nest(3 /* NFTA_SET_ELEM_LIST_ELEMENTS */, |list| {
                for (key, value) in elements {
                    list.nest(LIST_ELEM, |element| {
                        data(element, 1 /* NFTA_SET_ELEM_KEY */, key);
                        if !value.is_empty() {
                            data(element, 2 /* NFTA_SET_ELEM_DATA */, value);
                        }
                    });
                }
            });
        });
    }

    /// Every object names its table in attribute 1.
    fn object(
        &mut self,
        message: u8,
        flags: u16,
        table: Table,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.message(message, flags, table.family as u8, |attributes| {
            attributes.string(1, table.name);
            fill(attributes);
        });
    }
}
