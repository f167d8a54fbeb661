//! The servers of the lab, reached from another node.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use vipgate_lab::{Lab, Node, eventually, servers};

const LONG: Duration = Duration::from_secs(10);

fn client_and_server(name: &str) -> Result<(Node, Node)> {
    let lab = Lab::new(name)?;
    let lan = lab.bridge("lan")?;
    let (client, server) = (lab.node("client")?, lab.node("server")?);
    client.join(&lan, "10.77.0.1/24")?;
    server.join(&lan, "10.77.0.2/24")?;
    Ok((client, server))
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, 2], port))
}

#[test]
fn echo_says_its_name_sends_back_and_half_closes() -> Result<()> {
    let (client, server) = client_and_server("echo")?;
    let echo = servers::echo(&server, at(7), "backend-1")?;
    let mut connection = BufReader::new(client.enter(|| TcpStream::connect(echo.address()))?);
    connection.get_ref().set_read_timeout(Some(LONG))?;
    let mut name = String::new();
    connection.read_line(&mut name)?;
    assert_eq!(name, "backend-1\n");
    connection.get_mut().write_all(b"and back")?;
    connection.get_ref().shutdown(Shutdown::Write)?;
    let mut rest = String::new();
    connection.read_to_string(&mut rest)?;
    assert_eq!(rest, "and back");
    assert_eq!(echo.accepted(), 1);
    eventually(LONG, || {
        ensure!(echo.open() == 0, "{} connections are open", echo.open());
        Ok(())
    })
}

#[test]
fn a_dropped_echo_closes_its_connections_and_its_port() -> Result<()> {
    let (client, server) = client_and_server("echodrop")?;
    let echo = servers::echo(&server, at(7), "short")?;
    let mut connection = client.enter(|| TcpStream::connect(at(7)))?;
    connection.set_read_timeout(Some(LONG))?;
    let mut name = [0; 6];
    connection.read_exact(&mut name)?;
    drop(echo);
    assert_eq!(connection.read(&mut name)?, 0);
    let refused = client.enter(|| TcpStream::connect(at(7))).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    Ok(())
}

#[test]
fn two_mariadb_servers_know_their_names() -> Result<()> {
    let (client, server) = client_and_server("mariadb")?;
    let addresses = [at(3306), at(3307)];
    let one = servers::mariadb(&server, addresses[0], "one")?;
    let mut other = servers::mariadb(&server, addresses[1], "it's another")?;
    let whoami = "SELECT name FROM lab.whoami";
    assert_eq!(one.query_from(&client, addresses[0], whoami)?, "one");
    assert_eq!(other.query_from(&client, addresses[1], whoami)?, "it's another");
    assert!(other.process().terminate(LONG * 3)?.success());
    assert!(other.query_from(&client, addresses[1], whoami).is_err());
    assert_eq!(one.query_from(&client, addresses[0], whoami)?, "one");
    Ok(())
}

#[test]
fn redis_knows_its_name() -> Result<()> {
    let (client, server) = client_and_server("redis")?;
    let redis = servers::redis(&server, at(6379), "cache")?;
    assert_eq!(redis.command_from(&client, at(6379), ["GET", "whoami"])?, "cache");
    let error = redis.command_from(&client, at(6379), ["NO-SUCH-COMMAND"]).unwrap_err();
    assert!(format!("{error:?}").contains("unknown command"), "{error:?}");
    Ok(())
}

#[test]
fn a_server_that_cannot_bind_says_why() -> Result<()> {
    let (_client, server) = client_and_server("bind")?;
    let foreign = SocketAddr::from(([10, 99, 0, 1], 6379));
    let error = servers::echo(&server, foreign, "x").unwrap_err();
    assert!(error.to_string().contains("server cannot listen on 10.99.0.1:6379"), "{error}");
    Ok(())
}
