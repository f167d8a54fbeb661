//! The way to the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

/// What we call ourselves in the logs of the API server.
const AGENT: &str = concat!("vipgate/", env!("CARGO_PKG_VERSION"));
/// An API server that does not take a connection within it is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One that says nothing for so long is gone without a word. Watches are opened anew before that, so
/// they never have reason to be silent for longer.
const SILENCE: Duration = Duration::from_secs(75);

/// Why there is no way to the API server.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("{path}: {error}; check the file that --kubeconfig names")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: kube::config::KubeconfigError,
    },
    /// Neither a kubeconfig nor a cluster around us.
    #[error("{0}; outside of a cluster name a kubeconfig: --kubeconfig FILE")]
    NotInCluster(kube::config::InClusterError),
    /// The client cannot be built.
    #[error("no client for the API server: {0}")]
    Client(Box<kube::Error>),
}

/// A client as a kubeconfig says, or as the service account of the pod around us. Does not talk to
/// the server yet: that it is away is no reason not to start. Its requests are tried once.
///
/// # Errors
/// When there is no configuration, or an unusable one.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    // Fails only when somebody was faster, with the same provider: there is one in the tree.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = match kubeconfig {
        Some(path) => {
            let told = |error| ConnectError::Kubeconfig { path: path.display().to_string(), error };
            let kubeconfig = read(path).map_err(told)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(told)?
        }
        None => Config::incluster().map_err(ConnectError::NotInCluster)?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // Who asks knows better when to ask again, and what for: a lease is not to be renewed late.
    config.default_retry = false;
    if let (Ok(name), Ok(agent)) = ("user-agent".parse(), AGENT.parse()) {
        config.headers.push((name, agent));
    }
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

/// A kubeconfig, or a list of them as the variable `KUBECONFIG` may be: what an earlier one says goes before what a
/// later one says, and of several one may be missing.
fn read(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let all: Vec<PathBuf> = std::env::split_paths(path).collect();
    let [_, _, ..] = all[..] else { return Kubeconfig::read_from(path) };
    let there: Vec<&PathBuf> = all.iter().filter(|one| one.exists()).collect();
    let Some((first, rest)) = there.split_first() else { return Kubeconfig::read_from(path) };
    let first = Kubeconfig::read_from(first)?;
    rest.iter().try_fold(first, |all, one| all.merge(Kubeconfig::read_from(one)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_files_the_first_says_which_context_and_one_may_be_missing() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let first = file("first", "current-context: lab\n");
        let context =
            "current-context: other\ncontexts: [{name: lab, context: {cluster: c, user: u}}]\n";
        let second = file("second", context);
        let missing = directory.path().join("missing");
        let list = std::env::join_paths([&missing, &first, &second]).unwrap();
        let all = read(Path::new(&list)).unwrap();
        assert_eq!(all.current_context.as_deref(), Some("lab"));
        assert_eq!(all.contexts.len(), 1);
        assert!(read(Path::new(&std::env::join_paths([&missing, &missing]).unwrap())).is_err());
        assert!(read(&missing).is_err());
    }
}
