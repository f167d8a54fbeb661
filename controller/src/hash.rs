//! Short names for long ones: what a thing is called after ([`short_hash`]), or remembered by ([`mark`]).

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};

/// Another in each process, so that nobody can make two things alike.
static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What something is remembered by: the same for what is the same, within this process.
pub(crate) fn mark(of: impl Hash) -> u64 {
    SECRET.hash_one(of)
}

/// The first `digits` hex digits (up to 64) of the SHA-256 of some parts. Where the parts begin and
/// end counts.
pub(crate) fn short_hash<const N: usize>(parts: [&str; N], digits: usize) -> String {
    // NUL stands in no name of Kubernetes.
    let hash = digest(&SHA256, parts.join("\0").as_bytes());
    let mut hex: String = hash.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use super::short_hash;

    #[test]
    fn parts_are_kept_apart() {
        assert_eq!(short_hash(["a"], 8), "ca978112");
        assert_ne!(short_hash(["a", "bc"], 16), short_hash(["ab", "c"], 16));
    }
}
