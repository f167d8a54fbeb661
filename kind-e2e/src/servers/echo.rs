//! A TCP server without a process: says its name, then sends back what it gets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::Node;
use crate::namespace::Namespace;

/// A running echo server. Dropping it closes its connections.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    // Held, so that the sockets' namespace has its name as long as they live.
    _namespace: Arc<Namespace>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    accepted: AtomicU64,
    /// Open connections, to be closed at the end; each removes itself.
    open: Mutex<Vec<(u64, TcpStream)>>,
}

/// Starts an echo server on `node`. A client reads the line `name` first, then what it sends;
/// when it closes its sending side, so does the server after the last octet.
///
/// # Errors
/// When the node does not have the address, or the port is taken.
pub fn echo(node: &Node, address: SocketAddr, name: &str) -> Result<Echo> {
    let listener = node
        .enter(|| TcpListener::bind(address))
        .with_context(|| format!("{} cannot listen on {address}", node.name()))?;
    let address = listener.local_addr()?;
    let (listener, shared) = (Arc::new(listener), Arc::new(Shared::default()));
    let (banner, accepting, counting) =
        (format!("{name}\n"), Arc::clone(&listener), Arc::clone(&shared));
    let acceptor = std::thread::spawn(move || accept(&accepting, &banner, &counting));
    let _namespace = Arc::clone(&node.namespace);
    Ok(Echo { address, listener, shared, acceptor: Some(acceptor), _namespace })
}

impl Echo {
    /// Where it listens; with the port the kernel chose if it was asked for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.lock().expect(NO_PANIC).len()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Ends `accept`, and the listening even while some child, forked at this moment by
        // another thread, still has a copy of the socket.
        let closed = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take()
            && closed.is_ok()
        {
            // It does not panic; if it did, that was printed.
            let _ = acceptor.join();
        }
        for (_, connection) in self.shared.open.lock().expect(NO_PANIC).iter() {
            // Not connected any more is as good.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

const NO_PANIC: &str = "no holder of the lock panics";

fn accept(listener: &TcpListener, banner: &str, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(connection) = connection else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let Ok(to_close) = connection.try_clone() else { continue };
        shared.open.lock().expect(NO_PANIC).push((number, to_close));
        let (banner, shared) = (banner.to_owned(), Arc::clone(shared));
        std::thread::spawn(move || {
            // A reset by the client is an end like another.
            let _ = serve(connection, &banner);
            shared.open.lock().expect(NO_PANIC).retain(|(other, _)| *other != number);
        });
    }
}

fn serve(mut connection: TcpStream, banner: &str) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    connection.write_all(banner.as_bytes())?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => return connection.shutdown(Shutdown::Write),
            Ok(count) => connection.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
