//! Both ends of the connections: servers that say which they are and then echo, and clients.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Longer than this nothing takes that works.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Two servers; they say `a` and `b`.
pub(super) struct Servers {
    ports: [u16; 2],
}

impl Servers {
    /// Starts them; they run until the program ends.
    pub(super) fn start() -> Result<Self> {
        let server = |name: u8| -> Result<u16> {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let port = listener.local_addr()?.port();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    // Two hundred stand, the others end at once.
                    let serve = move || serve(stream, name);
                    let _ = thread::Builder::new().stack_size(64 * 1024).spawn(serve);
                }
            });
            Ok(port)
        };
        Ok(Self { ports: [server(b'a')?, server(b'b')?] })
    }

    /// Where they are.
    pub(super) fn ports(&self) -> [u16; 2] {
        self.ports
    }
}

fn serve(mut stream: TcpStream, name: u8) {
    let mut byte = [0];
    if stream.set_nodelay(true).and_then(|()| stream.write_all(&[name])).is_err() {
        return;
    }
    while let Ok(1) = stream.read(&mut byte) {
        if stream.write_all(&byte).is_err() {
            return;
        }
    }
}

/// Connects, and ends in good order; which server answered, if one did.
pub(super) fn answer(place: SocketAddr) -> Option<u8> {
    let mut stream = TcpStream::connect_timeout(&place, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    let mut name = [0];
    stream.read_exact(&mut name).ok()?;
    // The server ends it, so that the ports of clients are not used up by waiting.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(&mut [0]);
    Some(name[0])
}

/// Connections that stand and are asked in turns.
pub(super) struct Standing {
    ended: Arc<AtomicBool>,
    asking: JoinHandle<Seen>,
}

/// What became of them.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) echoes: u64,
    pub(super) lost: u64,
    pub(super) slowest: Duration,
}

impl Standing {
    /// Connects to each of these.
    pub(super) fn start(places: &[SocketAddr]) -> Result<Self> {
        let connect = |place: &SocketAddr| -> Result<TcpStream> {
            let mut stream = TcpStream::connect_timeout(place, TIMEOUT)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.read_exact(&mut [0]).with_context(|| format!("{place} says nothing"))?;
            Ok(stream)
        };
        let mut streams = places.iter().map(connect).collect::<Result<Vec<_>>>()?;
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let asking = thread::spawn(move || {
            let mut seen = Seen::default();
            while !until.load(Ordering::Relaxed) {
                streams.retain_mut(|stream| {
                    let start = Instant::now();
                    let mut byte = [7];
                    let echoed =
                        stream.write_all(&byte).and_then(|()| stream.read_exact(&mut byte));
                    seen.slowest = seen.slowest.max(start.elapsed());
                    match echoed {
                        Ok(()) => seen.echoes += 1,
                        Err(_) => seen.lost += 1,
                    }
                    echoed.is_ok()
                });
                thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Ok(Self { ended, asking })
    }

    /// Ends them.
    pub(super) fn end(self) -> Seen {
        self.ended.store(true, Ordering::Relaxed);
        self.asking.join().unwrap_or_default()
    }
}
