//! The steps of a rule, and their bytes.
//!
//! A rule is a list of expressions that work on registers. An expression that does not match ends
//! the rule; the packet goes to the next one. Constants: `linux/netfilter/nf_tables.h`.

use super::wire::Attributes;

/// Steps, all of which must match for the last one to happen.
pub(super) type Rule = Vec<Expression>;

/// A place for data: registers of four bytes, of which wider values take several in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Register(u32);

impl Register {
    /// Takes the verdict (`NFT_REG_VERDICT`).
    const VERDICT: Self = Self(0);
    /// The first for data: `NFT_REG_1`, which is where `NFT_REG32_00` is.
    pub(super) const FIRST: Self = Self(1);

    /// The one `words` behind the first.
    pub(super) const fn behind(words: u32) -> Self {
        match words {
            0 => Self::FIRST,
            words => Self(8 /* NFT_REG32_00 */ + words),
        }
    }
}

/// A property of the packet that is not in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    /// Name of the interface it came in by, 16 bytes padded with zeros (`NFT_META_IIFNAME`).
    InputInterfaceName = 6,
    /// Name of the interface it leaves by, likewise (`NFT_META_OIFNAME`).
    OutputInterfaceName = 7,
    /// Transport protocol, one byte (`NFT_META_L4PROTO`).
    Protocol = 16,
}

/// What connection tracking knows of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ct {
    /// 1 for what comes back to who began, one byte (`NFT_CT_DIRECTION`).
    Direction = 1,
    /// Bits, four bytes in the host's order (`NFT_CT_STATUS`).
    Status = 2,
}

/// Which header bytes are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// Of IP, and ARP itself (`NFT_PAYLOAD_NETWORK_HEADER`).
    Network = 1,
    /// Of TCP, UDP, ICMP (`NFT_PAYLOAD_TRANSPORT_HEADER`).
    Transport = 2,
}

/// Bytes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Of which header.
    pub(super) header: Header,
    /// Bytes from its start.
    pub(super) offset: u32,
    /// How many.
    pub(super) len: u32,
}

/// How a packet is refused, so that its sender knows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// By RST; for TCP only.
    Reset,
    /// By ICMP or ICMPv6 "port unreachable": this code.
    Unreachable(u8),
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads a property of the packet.
    Meta(Meta, Register),
    /// Loads what connection tracking knows.
    Ct(Ct),
    /// Loads the kind of the destination address (`RTN_*`, four bytes in the host's order).
    KindOfDestination,
    /// Matches what is not the first fragment of an IPv6 packet. (IPv4 is put together before.)
    LaterFragment,
    /// Loads whether the packet is for a socket here that speaks for a foreign address, one byte: 1 if so.
    /// Matches nothing where there is no socket for it.
    Transparent,
    /// Loads bytes of the packet.
    Payload(Field, Register),
    /// Keeps these bits of the loaded value.
    And(Vec<u8>),
    /// Matches when the loaded value is this one.
    Equal(Vec<u8>),
    /// Matches when it is not.
    NotEqual(Vec<u8>),
    /// Matches when the loaded value is in the set.
    InSet(&'static str),
    /// Matches when it is not.
    NotInSet(&'static str),
    /// Matches when the map has the loaded value, and loads what it has for it.
    Mapped(&'static str),
    /// Writes a value into the packet. The ARP header carries no checksum to keep right.
    SetPayload(Field, Vec<u8>),
    /// Sets these bits of the packet's mark.
    Mark(u32),
    /// Gives the packet's connection the loaded destination: an address of the family
    /// (`NFPROTO_*`), and a port in that register.
    DestinationNat(u8, Register),
    /// Lets the packet pass this chain; other chains may still stop it.
    Accept,
    /// Drops the packet.
    Drop,
    /// Refuses the packet.
    Reject(Refusal),
}

/// `NFTA_LIST_ELEM`.
pub(super) const LIST_ELEM: u16 = 1;
/// `NF_DROP`.
const DROP: u32 = 0;
/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;

/// A value as set elements and comparisons carry it (`NFTA_DATA_VALUE`).
pub(super) fn data(attributes: &mut Attributes<'_>, kind: u16, value: &[u8]) {
    attributes.nest(kind, |inner| inner.bytes(1, value));
}

impl Expression {
    /// Appends it to the list of a rule.
    pub(super) fn write(&self, list: &mut Attributes<'_>) {
        const FIRST: u32 = Register::FIRST.0;
        match self {
            Self::Meta(key, to) => step(list, "meta", |a| {
                a.number(1 /* NFTA_META_DREG */, to.0);
                a.number(2 /* NFTA_META_KEY */, *key as u32);
            }),
            Self::Ct(key) => step(list, "ct", |a| {
                a.number(1 /* NFTA_CT_DREG */, FIRST);
                a.number(2 /* NFTA_CT_KEY */, *key as u32);
            }),
            Self::KindOfDestination => step(list, "fib", |a| {
                a.number(1 /* NFTA_FIB_DREG */, FIRST);
                a.number(2 /* NFTA_FIB_RESULT */, 3 /* NFT_FIB_RESULT_ADDRTYPE */);
                a.number(3 /* NFTA_FIB_FLAGS */, 2 /* NFTA_FIB_F_DADDR */);
            }),
            Self::LaterFragment => {
                step(list, "exthdr", |a| {
                    a.number(1 /* NFTA_EXTHDR_DREG */, FIRST);
                    a.bytes(2 /* NFTA_EXTHDR_TYPE */, &[44 /* IPPROTO_FRAGMENT */]);
                    a.number(3 /* NFTA_EXTHDR_OFFSET */, 2);
                    a.number(4 /* NFTA_EXTHDR_LEN */, 2);
                });
                // The offset, without the three bits behind it.
                Self::And(vec![0xff, 0xf8]).write(list);
                Self::NotEqual(vec![0, 0]).write(list);
            }
            Self::Transparent => step(list, "socket", |a| {
                a.number(1 /* NFTA_SOCKET_KEY */, 0 /* NFT_SOCKET_TRANSPARENT */);
                a.number(2 /* NFTA_SOCKET_DREG */, FIRST);
            }),
            Self::Payload(field, to) => step(list, "payload", |a| {
                a.number(1 /* NFTA_PAYLOAD_DREG */, to.0);
                field.write(a);
            }),
            Self::And(mask) => step(list, "bitwise", |a| {
                a.number(1 /* NFTA_BITWISE_SREG */, FIRST);
                a.number(2 /* NFTA_BITWISE_DREG */, FIRST);
                let len = u32::try_from(mask.len()).expect("a register has 16 bytes");
                a.number(3 /* NFTA_BITWISE_LEN */, len);
                data(a, 4 /* NFTA_BITWISE_MASK */, mask);
                data(a, 5 /* NFTA_BITWISE_XOR */, &vec![0; mask.len()]);
            }),
            Self::Equal(value) => compare(list, 0 /* NFT_CMP_EQ */, value),
            Self::NotEqual(value) => compare(list, 1 /* NFT_CMP_NEQ */, value),
            Self::InSet(set) => look_up(list, set, |_| {}),
            Self::NotInSet(set) => look_up(list, set, |a| {
                a.number(5 /* NFTA_LOOKUP_FLAGS */, 1 /* NFT_LOOKUP_F_INV */);
            }),
            Self::Mapped(map) => {
                look_up(list, map, |a| a.number(3 /* NFTA_LOOKUP_DREG */, FIRST));
            }
            Self::SetPayload(field, value) => {
                step(list, "immediate", |a| {
                    a.number(1 /* NFTA_IMMEDIATE_DREG */, FIRST);
                    data(a, 2 /* NFTA_IMMEDIATE_DATA */, value);
                });
                step(list, "payload", |a| {
                    field.write(a);
                    a.number(5 /* NFTA_PAYLOAD_SREG */, FIRST);
                    a.number(6 /* NFTA_PAYLOAD_CSUM_TYPE */, 0 /* none */);
                    a.number(7 /* NFTA_PAYLOAD_CSUM_OFFSET */, 0);
                });
            }
            Self::Mark(bits) => {
                step(list, "meta", |a| {
                    a.number(1 /* NFTA_META_DREG */, FIRST);
                    a.number(2 /* NFTA_META_KEY */, 3 /* NFT_META_MARK */);
                });
                step(list, "bitwise", |a| {
                    a.number(1 /* NFTA_BITWISE_SREG */, FIRST);
                    a.number(2 /* NFTA_BITWISE_DREG */, FIRST);
                    a.number(3 /* NFTA_BITWISE_LEN */, 4);
                    data(a, 4 /* NFTA_BITWISE_MASK */, &(!bits).to_ne_bytes());
                    data(a, 5 /* NFTA_BITWISE_XOR */, &bits.to_ne_bytes());
                });
                step(list, "meta", |a| {
                    a.number(2 /* NFTA_META_KEY */, 3 /* NFT_META_MARK */);
                    a.number(3 /* NFTA_META_SREG */, FIRST);
                });
            }
            Self::DestinationNat(family, port) => step(list, "nat", |a| {
                a.number(1 /* NFTA_NAT_TYPE */, 1 /* NFT_NAT_DNAT */);
                a.number(2 /* NFTA_NAT_FAMILY */, u32::from(*family));
                a.number(3 /* NFTA_NAT_REG_ADDR_MIN */, FIRST);
                a.number(5 /* NFTA_NAT_REG_PROTO_MIN */, port.0);
            }),
            Self::Accept => verdict(list, ACCEPT),
            Self::Drop => verdict(list, DROP),
            Self::Reject(how) => step(list, "reject", |a| {
                let (kind, code) = match how {
                    Refusal::Unreachable(code) => (0 /* NFT_REJECT_ICMP_UNREACH */, *code),
                    Refusal::Reset => (1 /* NFT_REJECT_TCP_RST */, 0),
                };
                a.number(1 /* NFTA_REJECT_TYPE */, kind);
                a.bytes(2 /* NFTA_REJECT_ICMP_CODE */, &[code]);
            }),
        }
    }
}

impl Field {
    fn write(self, attributes: &mut Attributes<'_>) {
        attributes.number(2 /* NFTA_PAYLOAD_BASE */, self.header as u32);
        attributes.number(3 /* NFTA_PAYLOAD_OFFSET */, self.offset);
        attributes.number(4 /* NFTA_PAYLOAD_LEN */, self.len);
    }
}

fn compare(list: &mut Attributes<'_>, operator: u32, value: &[u8]) {
    step(list, "cmp", |a| {
        a.number(1 /* NFTA_CMP_SREG */, Register::FIRST.0);
        a.number(2 /* NFTA_CMP_OP */, operator);
        data(a, 3 /* NFTA_CMP_DATA */, value);
    });
}

fn look_up(list: &mut Attributes<'_>, set: &str, more: impl FnOnce(&mut Attributes<'_>)) {
    step(list, "lookup", |a| {
        a.string(1 /* NFTA_LOOKUP_SET */, set);
        a.number(2 /* NFTA_LOOKUP_SREG */, Register::FIRST.0);
        more(a);
    });
}

fn verdict(list: &mut Attributes<'_>, code: u32) {
    step(list, "immediate", |a| {
        a.number(1 /* NFTA_IMMEDIATE_DREG */, Register::VERDICT.0);
        a.nest(2 /* NFTA_IMMEDIATE_DATA */, |value| {
            value.nest(2 /* NFTA_DATA_VERDICT */, |verdict| {
                verdict.number(1 /* NFTA_VERDICT_CODE */, code);
            });
        });
    });
}

fn step(list: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    list.nest(LIST_ELEM, |expression| {
        expression.string(1 /* NFTA_EXPR_NAME */, name);
        expression.nest(2 /* NFTA_EXPR_DATA */, fill);
    });
}
