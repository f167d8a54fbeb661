//! Accepts TCP connections on VIPs and forwards them.
