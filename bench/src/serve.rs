//! The servers behind the proxies: a sink, a reader, a checker, a source and two echoes. They cost as little as they can.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use socket2::{Domain, Socket, Type};

use crate::args::ServeArgs;
use crate::datagrams::{Batch, To, Wait};
use crate::piece::{Arrived, Piece};
use crate::service::{CHECKER, DATAGRAMS, ECHO, READER, SINK, SOURCE};

/// Threads of each echo server.
const ECHOES: usize = 2;

/// Serves until it is killed.
pub(crate) fn run(at: &ServeArgs) -> Result<()> {
    let listen = |port| {
        TcpListener::bind((at.address, port)).with_context(|| format!("cannot listen on {port}"))
    };
    let (sink, reader, echo) = (listen(SINK)?, listen(READER)?, listen(ECHO)?);
    thread::spawn(move || accept(&sink, count_unread));
    thread::spawn(move || accept(&reader, count_read));
    let source = listen(SOURCE)?;
    thread::spawn(move || accept(&source, send));
    let checker = listen(CHECKER)?;
    thread::spawn(move || accept(&checker, check));
    for _ in 1..ECHOES {
        let echo = echo.try_clone()?;
        thread::spawn(move || echoes(&echo));
    }
    for _ in 0..ECHOES {
        let socket = datagrams(SocketAddr::new(at.address, DATAGRAMS))?;
        thread::spawn(move || send_back(&socket));
    }
    println!("serving");
    echoes(&echo)
}

fn accept(listener: &TcpListener, serve: fn(TcpStream) -> Result<u64>) {
    for stream in listener.incoming().flatten() {
        // A client that goes away without its answer is its own affair.
        thread::spawn(move || serve(stream).is_ok());
    }
}

/// Lets the kernel throw the bytes away, and tells how many there were.
fn count_unread(mut stream: TcpStream) -> Result<u64> {
    let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match recv(&stream, buffer.as_mut_slice(), RecvFlags::TRUNC) {
            Ok((_, 0)) => break,
            Ok((_, read)) => total += read as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    stream.write_all(&total.to_be_bytes())?;
    Ok(total)
}

/// The same with bytes that are really read.
fn count_read(mut stream: TcpStream) -> Result<u64> {
    let (mut total, mut buffer) = (0, vec![0; 128 * 1024]);
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            read => total += read as u64,
        }
    }
    stream.write_all(&total.to_be_bytes())?;
    Ok(total)
}

/// Looks at every byte up to the number that ends them, and tells how many there were.
fn check(mut stream: TcpStream) -> Result<u64> {
    let (mut arrived, mut buffer) = (Arrived::default(), vec![0; 128 * 1024]);
    while arrived.total().is_none() {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the end is missing");
        arrived.add(&buffer[..read])?;
    }
    stream.write_all(&arrived.bytes.to_be_bytes())?;
    Ok(arrived.bytes)
}

/// Sends for as many milliseconds as it is asked to, and tells how much it was.
fn send(mut stream: TcpStream) -> Result<u64> {
    let mut asked = [0; 8];
    stream.read_exact(&mut asked)?;
    let until = Instant::now() + Duration::from_millis(u64::from_be_bytes(asked));
    let total = Piece::of_bytes()?.send(&stream, until)?;
    stream.write_all(&total.to_be_bytes())?;
    Ok(total)
}

/// One of several sockets of a port.
fn datagrams(at: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.bind(&at.into()).with_context(|| format!("cannot listen on {at}"))?;
    Ok(socket.into())
}

fn send_back(socket: &UdpSocket) {
    let mut batch = Batch::new();
    loop {
        // What ICMP says of a client that is gone is about that one.
        if batch.receive(socket, Wait::Forever).is_ok() {
            let _ = batch.send(socket, To::Sender);
        }
    }
}

/// Sends back what comes. One loop for all its connections; what is sent back fits into a socket.
fn echoes(listener: &TcpListener) -> Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let of_listener = EventData::new_u64(u64::MAX);
    epoll::add(&epoll, listener, of_listener, EventFlags::IN | EventFlags::EXCLUSIVE)?;
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let (mut events, mut buffer) = (Vec::with_capacity(256), [0; 4096]);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let event: &epoll::Event = event;
            if event.data.u64() == u64::MAX {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let slot = streams.iter().position(Option::is_none).unwrap_or(streams.len());
                    epoll::add(
                        &epoll,
                        stream.as_fd(),
                        EventData::new_u64(slot as u64),
                        EventFlags::IN,
                    )?;
                    match streams.get_mut(slot) {
                        Some(free) => *free = Some(stream),
                        None => streams.push(Some(stream)),
                    }
                }
                continue;
            }
            let slot = &mut streams[usize::try_from(event.data.u64())?];
            let Some(stream) = slot else { continue };
            let over = match stream.read(&mut buffer) {
                Ok(0) => true,
                Ok(read) => stream.write_all(&buffer[..read]).is_err(),
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            };
            if over {
                *slot = None;
            }
        }
    }
}
