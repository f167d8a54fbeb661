//! Peers that are broken or want to break: captured messages, cut and mutated, given to the
//! decoder and to a running session.
//!
//! What decodes foreign bytes in bulk runs in a process of its own, under a limit on its memory.

// clippy.toml allows it in tests, but does not see that what they share is a test too.
#![allow(clippy::unwrap_used)]

mod corpus;
mod decoder;
mod session;
