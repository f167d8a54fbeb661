//! nftables in types: tables, sets, chains and rules, written into a [`Batch`].
//!
//! Pure. Only what vipgate's tables use is here, but in the kernel's own terms, so that a table of
//! another family is a matter of adding a variant. Constants: `linux/netfilter/nf_tables.h`.
//!
//! A rule is a list of expressions that work on registers. An expression that does not match ends
//! the rule; the packet goes to the next one.

use super::wire::{Attributes, Batch, NLM_F_APPEND, NLM_F_CREATE};

const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_NEWRULE: u8 = 6;
const NFT_MSG_DELRULE: u8 = 8;
const NFT_MSG_NEWSET: u8 = 9;
const NFT_MSG_NEWSETELEM: u8 = 12;
const NFT_MSG_DELSETELEM: u8 = 14;

/// Longest list of set elements in one message. An attribute holds at most 64 KiB, and an IPv4
/// element takes 16 bytes, so this leaves room for every kind of key.
pub(super) const ELEMENTS_PER_MESSAGE: usize = 1000;

/// Protocol family of a table (`NFPROTO_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// ARP packets.
    Arp = 3,
}

/// A table by family and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    /// What it filters.
    pub(super) family: Family,
    /// Its name within the family.
    pub(super) name: &'static str,
}

/// Type of a set's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyType {
    /// `ipv4_addr`, 4 bytes.
    Ipv4,
}

/// Where in the path of a packet a chain sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// ARP packets that this host sends (`NF_ARP_OUT`).
    ArpOutput = 1,
}

/// A register of 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Register {
    /// Takes the verdict (`NFT_REG_VERDICT`).
    Verdict = 0,
    /// The first for data (`NFT_REG_1`).
    One = 1,
}

/// A property of the packet that is not in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    /// Name of the interface it leaves by, 16 bytes padded with zeros (`NFT_META_OIFNAME`).
    OutputInterfaceName = 7,
}

/// Bytes of the network header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Bytes from the start of the header.
    pub(super) offset: u32,
    /// How many.
    pub(super) len: u32,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads a property of the packet.
    Meta(Meta),
    /// Loads bytes of the packet.
    Payload(Field),
    /// Matches when the loaded value is this one.
    Equal(Vec<u8>),
    /// Matches when the loaded value is in the set.
    InSet(&'static str),
    /// Writes a value into the packet. The ARP header carries no checksum to keep right.
    SetPayload(Field, Vec<u8>),
    /// Drops the packet.
    Drop,
}

/// Steps, all of which must match for the last one to happen.
pub(super) type Rule = Vec<Expression>;

impl Batch {
    /// Makes the table unless it is there.
    pub(super) fn add_table(&mut self, table: Table) {
        self.object(NFT_MSG_NEWTABLE, NLM_F_CREATE, table, |attributes| {
            attributes.number(2 /* NFTA_TABLE_FLAGS */, 0);
        });
    }

    /// Deletes the table with all it holds; the transaction fails if it is not there.
    pub(super) fn delete_table(&mut self, table: Table) {
        self.object(NFT_MSG_DELTABLE, 0, table, |_| {});
    }

    /// Makes an empty set.
    pub(super) fn add_set(&mut self, table: Table, name: &str, keys: KeyType) {
        // The type is a number that only `nft` reads, to print the keys.
        let (kind, len) = match keys {
            KeyType::Ipv4 => (7, 4),
        };
        self.object(NFT_MSG_NEWSET, NLM_F_CREATE, table, |attributes| {
            attributes.string(2 /* NFTA_SET_NAME */, name);
            attributes.number(3 /* NFTA_SET_FLAGS */, 0);
            attributes.number(4 /* NFTA_SET_KEY_TYPE */, kind);
            attributes.number(5 /* NFTA_SET_KEY_LEN */, len);
            // Refers to the set within this transaction; required, though we refer by name.
            attributes.number(10 /* NFTA_SET_ID */, 1);
        });
    }

    /// Makes a chain of type `filter` that accepts what no rule decides.
    pub(super) fn add_chain(&mut self, table: Table, name: &str, hook: Hook, priority: i32) {
        self.object(NFT_MSG_NEWCHAIN, NLM_F_CREATE, table, |attributes| {
            attributes.string(3 /* NFTA_CHAIN_NAME */, name);
            attributes.nest(4 /* NFTA_CHAIN_HOOK */, |hooked| {
                hooked.number(1 /* NFTA_HOOK_HOOKNUM */, hook as u32);
                hooked.bytes(2 /* NFTA_HOOK_PRIORITY */, &priority.to_be_bytes());
            });
            attributes.string(7 /* NFTA_CHAIN_TYPE */, "filter");
        });
    }

    /// Appends a rule to the chain.
    pub(super) fn add_rule(&mut self, table: Table, chain: &str, rule: &[Expression]) {
        self.object(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, table, |attributes| {
            attributes.string(2 /* NFTA_RULE_CHAIN */, chain);
            attributes.nest(4 /* NFTA_RULE_EXPRESSIONS */, |list| {
                for expression in rule {
                    expression.write(list);
                }
            });
        });
    }

    /// Deletes all rules of the chain.
    pub(super) fn flush_chain(&mut self, table: Table, chain: &str) {
        self.object(NFT_MSG_DELRULE, 0, table, |attributes| {
            attributes.string(2 /* NFTA_RULE_CHAIN */, chain);
        });
    }

    /// Puts keys into the set; those it has already stay.
    pub(super) fn add_elements<K: AsRef<[u8]>>(&mut self, table: Table, set: &str, keys: &[K]) {
        self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, table, set, keys);
    }

    /// Takes keys out of the set; the transaction fails if one is not there.
    pub(super) fn delete_elements<K: AsRef<[u8]>>(&mut self, table: Table, set: &str, keys: &[K]) {
        self.elements(NFT_MSG_DELSETELEM, 0, table, set, keys);
    }

    fn elements<K: AsRef<[u8]>>(
        &mut self,
        message: u8,
        flags: u16,
        table: Table,
        set: &str,
        keys: &[K],
    ) {
        for chunk in keys.chunks(ELEMENTS_PER_MESSAGE) {
            self.object(message, flags, table, |attributes| {
                attributes.string(2 /* NFTA_SET_ELEM_LIST_SET */, set);
                attributes.nest(3 /* NFTA_SET_ELEM_LIST_ELEMENTS */, |list| {
                    for key in chunk {
                        list.nest(LIST_ELEM, |element| data(element, 1, key.as_ref()));
                    }
                });
            });
        }
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

/// `NFTA_LIST_ELEM`.
const LIST_ELEM: u16 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER`; for ARP the ARP header itself.
const NETWORK_HEADER: u32 = 1;

/// A value as set elements and comparisons carry it (`NFTA_DATA_VALUE`).
fn data(attributes: &mut Attributes<'_>, kind: u16, value: &[u8]) {
    attributes.nest(kind, |inner| inner.bytes(1, value));
}

impl Expression {
    fn write(&self, list: &mut Attributes<'_>) {
        const ONE: u32 = Register::One as u32;
        match self {
            Self::Meta(key) => step(list, "meta", |a| {
                a.number(1 /* NFTA_META_DREG */, ONE);
                a.number(2 /* NFTA_META_KEY */, *key as u32);
            }),
            Self::Payload(field) => step(list, "payload", |a| {
                a.number(1 /* NFTA_PAYLOAD_DREG */, ONE);
                field.write(a);
            }),
            Self::Equal(value) => step(list, "cmp", |a| {
                a.number(1 /* NFTA_CMP_SREG */, ONE);
                a.number(2 /* NFTA_CMP_OP */, 0 /* NFT_CMP_EQ */);
                data(a, 3 /* NFTA_CMP_DATA */, value);
            }),
            Self::InSet(set) => step(list, "lookup", |a| {
                a.string(1 /* NFTA_LOOKUP_SET */, set);
                a.number(2 /* NFTA_LOOKUP_SREG */, ONE);
            }),
            Self::SetPayload(field, value) => {
                step(list, "immediate", |a| {
                    a.number(1 /* NFTA_IMMEDIATE_DREG */, ONE);
                    data(a, 2 /* NFTA_IMMEDIATE_DATA */, value);
                });
                step(list, "payload", |a| {
                    field.write(a);
                    a.number(5 /* NFTA_PAYLOAD_SREG */, ONE);
                    a.number(6 /* NFTA_PAYLOAD_CSUM_TYPE */, 0 /* none */);
                    a.number(7 /* NFTA_PAYLOAD_CSUM_OFFSET */, 0);
                });
            }
            Self::Drop => step(list, "immediate", |a| {
                a.number(1 /* NFTA_IMMEDIATE_DREG */, Register::Verdict as u32);
                a.nest(2 /* NFTA_IMMEDIATE_DATA */, |value| {
                    value.nest(2 /* NFTA_DATA_VERDICT */, |verdict| {
                        verdict.number(1 /* NFTA_VERDICT_CODE */, 0 /* NF_DROP */);
                    });
                });
            }),
        }
    }
}

impl Field {
    fn write(self, attributes: &mut Attributes<'_>) {
        attributes.number(2 /* NFTA_PAYLOAD_BASE */, NETWORK_HEADER);
        attributes.number(3 /* NFTA_PAYLOAD_OFFSET */, self.offset);
        attributes.number(4 /* NFTA_PAYLOAD_LEN */, self.len);
    }
}

fn step(list: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    list.nest(LIST_ELEM, |expression| {
        expression.string(1 /* NFTA_EXPR_NAME */, name);
        expression.nest(2 /* NFTA_EXPR_DATA */, fill);
    });
}
