//! Peers that are broken or want to break: captured messages, cut and mutated, given to the
//! decoder and to a running session.
//!
//! What decodes foreign bytes in bulk runs in a process of its own, under a limit on its memory.

mod corpus;
mod decoder;
mod session;
