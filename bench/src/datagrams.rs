//! Datagrams by the batch: recvmmsg(2) and sendmmsg(2), so that neither the load nor the server is what limits a proxy.
//!
//! Always holds: what is sent is what was received or prepared in the same place; every length is within its buffer.
#![allow(unsafe_code)]

use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use rustix::io::Errno;

/// Datagrams in a batch.
pub(crate) const CAPACITY: usize = 32;
/// Bytes that there is room for in each.
const ROOM: usize = 2048;

/// To whom datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// To whom the socket is connected.
    Connected,
    /// Back to whoever sent each.
    Sender,
}

/// How long to wait for the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Never,
    Forever,
}

/// Datagrams, with those who sent them.
pub(crate) struct Batch {
    buffers: Box<[[u8; ROOM]; CAPACITY]>,
    names: Box<[libc::sockaddr_storage; CAPACITY]>,
    entries: Vec<Entry>,
}

/// Which buffer and name, and how much of each counts.
#[derive(Clone, Copy, Debug)]
struct Entry {
    place: usize,
    length: usize,
    name: libc::socklen_t,
}

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: an address of zeros is one of no family.
        let name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let entries = Vec::with_capacity(CAPACITY);
        Self {
            buffers: Box::new([[0; ROOM]; CAPACITY]),
            names: Box::new([name; CAPACITY]),
            entries,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Appends a datagram of this length, to be filled. `None` when there is no more room.
    pub(crate) fn add(&mut self, length: usize) -> Option<&mut [u8]> {
        let place = self.entries.len();
        let buffer = self.buffers.get_mut(place)?.get_mut(..length)?;
        self.entries.push(Entry { place, length, name: 0 });
        Some(buffer)
    }

    /// Keeps those that somebody finds right, and may change.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut [u8]) -> bool) {
        let Self { buffers, entries, .. } = self;
        entries.retain(|entry| keep(&mut buffers[entry.place][..entry.length]));
    }

    /// Takes what a socket has, in place of what there was.
    ///
    /// # Errors
    /// EAGAIN when it has nothing; what an ICMP error did to a connected socket.
    pub(crate) fn receive(&mut self, socket: &impl AsFd, wait: Wait) -> Result<(), Errno> {
        self.entries.clear();
        let empty = libc::iovec { iov_base: ptr::null_mut(), iov_len: ROOM };
        let mut parts = [empty; CAPACITY];
        // SAFETY: a header of zeros is one that refers to nothing.
        let mut headers: [libc::mmsghdr; CAPACITY] = unsafe { mem::zeroed() };
        for place in 0..CAPACITY {
            parts[place].iov_base = self.buffers[place].as_mut_ptr().cast();
            let header = &mut headers[place].msg_hdr;
            header.msg_name = (&raw mut self.names[place]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[place];
            header.msg_iovlen = 1;
        }
        let flags = match wait {
            Wait::Never => libc::MSG_DONTWAIT,
            Wait::Forever => libc::MSG_WAITFORONE,
        };
        // SAFETY: every header is complete; its name, part and buffer are its own, live through the call, and are as
        // long as it says.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                CAPACITY as libc::c_uint,
                flags as _,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| last_error())?;
        for (place, header) in headers[..received].iter().enumerate() {
            // What was too long is cut off, and is no longer what was sent: whoever looks at it sees that.
            let length = (header.msg_len as usize).min(ROOM);
            self.entries.push(Entry { place, length, name: header.msg_hdr.msg_namelen });
        }
        Ok(())
    }

    /// Sends them all; waits where the socket is full.
    pub(crate) fn send(&mut self, socket: &impl AsFd, to: To) -> Result<(), Errno> {
        let mut done = 0;
        while done < self.entries.len() {
            match self.send_some(socket, to, done) {
                Ok(sent) => done += sent,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send_some(&mut self, socket: &impl AsFd, to: To, from: usize) -> Result<usize, Errno> {
        let empty = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let mut parts = [empty; CAPACITY];
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; CAPACITY] = unsafe { mem::zeroed() };
        let entries = &self.entries[from..];
        for (number, entry) in entries.iter().enumerate() {
            let bytes = &mut self.buffers[entry.place][..entry.length];
            parts[number] =
                libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let header = &mut headers[number].msg_hdr;
            header.msg_iov = &raw mut parts[number];
            header.msg_iovlen = 1;
            if to == To::Sender {
                header.msg_name = (&raw mut self.names[entry.place]).cast();
                header.msg_namelen = entry.name;
            }
        }
        // SAFETY: the headers of all entries are complete; what they refer to lives through the call and is as long
        // as they say. There are no more entries than headers, for each has a place of its own.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                entries.len() as libc::c_uint,
                0,
            )
        };
        usize::try_from(sent).map_err(|_| last_error())
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_comes_goes_back_to_whoever_sent_it() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let clients = [(); 2].map(|()| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(server.local_addr().unwrap()).unwrap();
            client
        });
        let mut batch = Batch::new();
        for (number, client) in (0..).zip(&clients) {
            batch.clear();
            for length in [64, 1400] {
                batch.add(length).unwrap().fill(number);
            }
            batch.send(client, To::Connected).unwrap();
        }
        batch.receive(&server, Wait::Forever).unwrap();
        assert_eq!(batch.len(), 4);
        // What is refused does not come back; what is changed does so as it is then.
        batch.retain(|bytes| {
            bytes[1] = 9;
            bytes.len() == 1400
        });
        batch.send(&server, To::Sender).unwrap();
        for (number, client) in (0..).zip(&clients) {
            let mut buffer = [0; 2000];
            assert_eq!(client.recv(&mut buffer).unwrap(), 1400);
            assert_eq!(buffer[..3], [number, 9, number]);
            assert_eq!(batch.receive(client, Wait::Never), Err(Errno::AGAIN));
        }
    }

    #[test]
    fn a_batch_has_an_end() {
        let mut batch = Batch::new();
        for _ in 0..CAPACITY {
            assert!(batch.add(64).is_some());
        }
        assert!(batch.add(64).is_none());
        batch.clear();
        assert!(batch.add(ROOM + 1).is_none());
    }
}
