//! What stands in a member's record: all keys are here, so that no two mean different things.
//!
//! Keys that are not known are left alone: a later version may say more.

/// Its name.
pub(super) const NAME: &[u8] = b"n";
/// That it is restarted when its process ends, and within how many milliseconds (2 bytes).
pub(super) const RESTART: &[u8] = b"s";
/// That VIPs are to be spread anew, while it stands there.
pub(super) const REBALANCE: &[u8] = b"r";
/// With the octets of a VIP: what it offers and holds of that.
pub(super) const VIP: u8 = b'v';
/// With a key of its process: what that wants all to know.
pub(super) const NOTE: u8 = b'+';
