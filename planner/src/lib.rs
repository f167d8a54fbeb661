//! Every decision of vipgate, as plain functions over plain data.
//!
//! ```text
//!   World ──┬─> admission ──> allocation ──> attachment ──> resolution ──> assembly ──> Plan
//!   Claims ─┘   (classes,     (addresses)    (routes to     (backendRefs   (what this
//!   Node ─────   listeners)                   listeners)     to endpoints)  node does)
//!   NodeReport ─────────────────────────────────────────────────────────> status ──> conditions
//! ```
//!
//! No async, no sockets, no Kubernetes client, no clock: the dependencies make I/O impossible.
//! Controller and speaker call the same planner, so status and data path cannot disagree.
//! Each layer is run again only when one of its own inputs changed ([`Planner`]).

pub mod admission;
pub mod allocation;
mod announce;
pub mod assembly;
pub mod attachment;
pub mod backend_tls;
pub mod bgp;
mod candidacy;
pub mod certificates;
pub mod claim;
pub mod environment;
pub mod exclusion;
mod hostname;
mod index;
mod layer;
mod local;
pub mod names;
mod no_backends;
pub mod node;
pub mod ownership;
pub mod plan;
pub mod planner;
pub mod policies;
mod refusal;
pub mod report;
pub mod resolution;
pub mod routing;
pub mod services;
pub mod status;
mod stream;
pub mod world;

pub use candidacy::{SelectsPools, selects_pool};
pub use claim::{Claim, Claims, Foreign, Origin, VipUser};
pub use environment::Environment;
pub use exclusion::{Exclusion, ExclusionReason};
pub use names::{Answer, Names};
pub use node::{Link, ListenerState, MacAddr, Neighbour, Neighbours, Node, NodeReport, VipState};
pub use plan::{
    AccessLog, Announce, BackendSettings, BackendShare, BackendTls, Balancing, ByName, Certificate,
    Check, ClientAddress, ClientValidation, Endpoint, Keepalive, Listener, ListenerId,
    ListenerSettings, Plan, Preserved, ProxyVersion, Rate, Service, Source, SubjectName, Target,
    Termination, Tls, TlsRange, TlsVersion, Vip,
};
pub use planner::{Outcome, Planner, Role, Runs};
pub use refusal::Refusal;
pub use report::{Lost, LostNode, Reports};
pub use services::Classless;
pub use status::{FormerStatus, Problem, ServiceStatus, Statuses};
pub use world::World;
