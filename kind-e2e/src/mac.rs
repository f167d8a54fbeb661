//! Ethernet addresses, as tests compare and print them.

use std::fmt;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`, the target of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// The address of link `link` of the node number `node`. Locally administered and readable
    /// in a capture: `02:76:67` (`vg`), node (two octets), link.
    pub(crate) fn of_link(node: u16, link: u8) -> Self {
        let [high, low] = node.to_be_bytes();
        Self([0x02, 0x76, 0x67, high, low, link])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
