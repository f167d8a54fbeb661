//! ARP for VIPs (RFC 826, RFC 5227): probe, announce, answer.
