//! vipgate.
fn main() {}
