//! A UDP server without a process: answers each datagram with its name and what it got.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Node;
use crate::namespace::Namespace;

/// How often it looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);

/// A running server of datagrams, until it is dropped.
#[derive(Debug)]
pub struct Datagrams {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    // Held, so that the socket's namespace has its name as long as it lives.
    _namespace: Arc<Namespace>,
}

/// Starts a server of datagrams on `node`. Its answer is the line `name`, and what came behind it.
///
/// # Errors
/// When the node does not have the address, or the port is taken.
pub fn datagrams(node: &Node, address: SocketAddr, name: &str) -> Result<Datagrams> {
    let socket = node
        .enter(|| UdpSocket::bind(address))
        .with_context(|| format!("{} cannot listen on {address}", node.name()))?;
    socket.set_read_timeout(Some(TICK))?;
    let stopping = Arc::<AtomicBool>::default();
    let (banner, stopped) = (format!("{name}\n").into_bytes(), Arc::clone(&stopping));
    let thread = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while !stopped.load(Ordering::SeqCst) {
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            // Whoever cannot be reached will ask again.
            let _ = socket.send_to(&[&banner[..], &buffer[..length]].concat(), peer);
        }
    });
    Ok(Datagrams { stopping, thread: Some(thread), _namespace: Arc::clone(&node.namespace) })
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, that was printed.
            let _ = thread.join();
        }
    }
}
