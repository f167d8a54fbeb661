//! The cluster side of vipgate: watches the API server, and writes statuses from the planner's outcome.
//!
//! Empty until the work on clusters begins; its place in the house is in `docs/architecture.md`.
