//! Reading objects from a directory of YAML manifests.
//!
//! ```text
//!   directory ──> files ──> documents ──> tree ──> typed objects ──> validated ──┐
//!   (std::fs)     bytes     (at `---`)    (lines)  (defaults)        (CRD + CEL)  │
//!                                                                                v
//!   Update { what changed, problems, skipped } <── Snapshot (last good versions) ─┘
//! ```
//!
//! What holds: text that is hostile or broken costs bounded time and memory, and spoils only
//! itself. A problem names file, line, object and field, and says what to write instead. An object
//! that turns bad stays as it last was ([`Snapshot`]); what is taken on has passed the checks that
//! the CRD schemas (with their CEL rules) and the API server make of the fields we have.
//!
//! What is read differently from kubectl: aliases and duplicate keys are refused; unquoted `yes`,
//! `no`, `on`, `off` and numbers with a leading zero are text with a warning, unless the field is a
//! boolean.

mod de;
mod decode;
mod defaults;
mod directory;
mod nearest;
mod path;
mod problem;
mod snapshot;
mod tree;
mod validate;

pub use decode::{FileReading, Item, Loaded, Skipped, read_manifest};
pub use directory::{File, Listing, MAX_FILE_SIZE, MAX_FILES, MAX_TOTAL_SIZE, read_directory};
pub use path::FieldLines;
pub use problem::{Problem, Severity};
pub use snapshot::{Held, Origin, Snapshot, Update};

/// Where the manifests are used, which decides what can be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// From a directory, with no cluster around: nothing forwards for a Service.
    #[default]
    Standalone,
    /// Meant for a cluster, where kube-proxy or the CNI forwards for Services.
    Cluster,
}
