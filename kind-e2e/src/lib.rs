//! Placeholder of the skeleton; see docs/architecture.md.
