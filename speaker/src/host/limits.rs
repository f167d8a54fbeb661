//! Limits of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one, and returns how many files may now be open.
///
/// Every forwarded connection takes two. The soft limit is small by tradition, for programs that
/// use `select`; this one does not. No privilege is needed up to the hard limit.
pub fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    match raised {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        // Seen where a seccomp filter forbids the call: go on with what there is.
        Err(errno) => {
            let allowed = current.unwrap_or(u64::MAX);
            tracing::warn!(%errno, allowed, "cannot raise the limit on open files (ulimit -n)");
            allowed
        }
    }
}

/// How many files this process may come to have open: the hard limit, up to which it raises its own.
pub fn open_files_at_most() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}
