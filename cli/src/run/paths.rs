//! Where files are when nobody says.

use std::env;
use std::path::{Path, PathBuf};

use rustix::process::getuid;

/// The admin socket.
pub(crate) fn admin_socket(given: Option<&Path>) -> PathBuf {
    if let Some(path) = given {
        return path.to_owned();
    }
    if getuid().is_root() {
        return "/run/vipgate/admin.sock".into();
    }
    match env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) => Path::new(&directory).join("vipgate/admin.sock"),
        None => env::temp_dir().join(format!("vipgate-{}/admin.sock", getuid().as_raw())),
    }
}

/// The state file.
pub(crate) fn state_file(given: Option<&Path>) -> PathBuf {
    if let Some(path) = given {
        return path.to_owned();
    }
    if getuid().is_root() {
        return "/var/lib/vipgate/state.json".into();
    }
    let home = env::var_os("HOME").unwrap_or_else(|| "/".into());
    let base = env::var_os("XDG_STATE_HOME")
        .map_or_else(|| Path::new(&home).join(".local/state"), PathBuf::from);
    base.join("vipgate/state.json")
}
