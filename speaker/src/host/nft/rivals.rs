//! Whether somebody else rewrites destinations on this host: kube-proxy, Docker, a firewall.

use std::fs;

use super::NftError;
use super::io::Committer;

/// Says which tables legacy iptables has in this network namespace.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// Looks for chains of type `nat` that are not ours. iptables has them as well, unless it is legacy.
pub(super) fn are_there(committer: &mut Committer) -> Result<bool, NftError> {
    Ok(committer.foreign_nat()? || by_legacy_iptables())
}

/// The same, of legacy iptables, which tells nobody of its changes.
pub(super) fn by_legacy_iptables() -> bool {
    let tables = fs::read_to_string(LEGACY_TABLES).unwrap_or_default();
    tables.lines().any(|table| table == "nat")
}
