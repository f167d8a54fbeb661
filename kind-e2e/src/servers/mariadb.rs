//! A real MariaDB server, as small as it gets: own data directory, no persistence asked for.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{Node, Process, Program, eventually};

/// Creating the system tables takes two seconds, on a loaded machine many more.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than the client's own timeout for connecting, which has the better message.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);

/// A running MariaDB server with the table `lab.whoami (name)` of one row, and the user `lab`
/// who may do everything, from everywhere, without password.
#[derive(Debug)]
pub struct MariaDb {
    address: SocketAddr,
    // Before its directory: dropped first.
    process: Process,
    _directory: TempDir,
}

/// Starts a server on `node`; returns when it answers. `name` is what `lab.whoami` says.
///
/// # Errors
/// When MariaDB is not installed or does not come up; with what it logged.
pub fn mariadb(node: &Node, address: SocketAddr, name: &str) -> Result<MariaDb> {
    let directory = tempfile::Builder::new().prefix("vglab-mariadb-").tempdir()?;
    let data = directory.path().join("data");
    let init = directory.path().join("init.sql");
    install(node, &data)?;
    let name = name.replace('\'', "''");
    std::fs::write(
        &init,
        format!(
            "CREATE DATABASE lab;\n\
             CREATE TABLE lab.whoami (name VARCHAR(64));\n\
             INSERT INTO lab.whoami VALUES ('{name}');\n\
             CREATE USER 'lab'@'%';\n\
             GRANT ALL ON *.* TO 'lab'@'%';\n"
        ),
    )?;
    let process = node.spawn(
        Program::new("mariadbd")
            .args(server_options(&data))
            .arg(format!("--bind-address={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--init-file={}", init.display()))
            .arg(format!("--socket={}", directory.path().join("sock").display()))
            .arg(format!("--pid-file={}", directory.path().join("pid").display())),
    )?;
    process.wait_for_line("ready for connections", START_TIMEOUT)?;
    let server = MariaDb { address, process, _directory: directory };
    eventually(START_TIMEOUT, || server.query_from(node, address, "SELECT 1")).with_context(
        || format!("MariaDB on {address} does not answer\n{}", server.process.tail()),
    )?;
    Ok(server)
}

impl MariaDb {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, to kill or terminate it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Runs `sql` by the `mariadb` client on `client`, connected to `through` (this server, or a
    /// VIP that should lead to it); the rows, one per line, columns separated by tabs.
    ///
    /// # Errors
    /// What the client printed.
    pub fn query_from(&self, client: &Node, through: SocketAddr, sql: &str) -> Result<String> {
        let printed = client.run_within(
            QUERY_TIMEOUT,
            Program::new("mariadb")
                .args(["--no-defaults", "--protocol=tcp", "--user=lab", "--skip-ssl"])
                .args(["--batch", "--skip-column-names", "--connect-timeout=5"])
                .arg(format!("--host={}", through.ip()))
                .arg(format!("--port={}", through.port()))
                .arg(format!("--execute={sql}")),
        )?;
        Ok(printed.trim_end().to_owned())
    }
}

fn install(node: &Node, data: &Path) -> Result<()> {
    let program = Program::new("mariadb-install-db")
        .args(server_options(data))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    node.run_within(START_TIMEOUT, program).context("cannot create a MariaDB data directory")?;
    Ok(())
}

/// `--no-defaults` has to come first. Everything else is for a quick start in little memory.
fn server_options(data: &Path) -> [String; 9] {
    [
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        "--user=root".to_owned(),
        "--skip-log-bin".to_owned(),
        "--skip-name-resolve".to_owned(),
        "--innodb-buffer-pool-size=16M".to_owned(),
        "--innodb-log-file-size=8M".to_owned(),
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
        "--performance-schema=OFF".to_owned(),
    ]
}
