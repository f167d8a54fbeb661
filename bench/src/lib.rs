//! Measurements of vipgate beside other proxies, in one run.
//!
//! Empty until the work on speed begins; its place in the house is in `docs/architecture.md`.
