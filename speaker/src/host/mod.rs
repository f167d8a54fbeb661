//! The host: VIP addresses, links, limits, and our nftables tables.
