//! The thread that starts all processes of the lab.
//!
//! A child is in the network namespace of the thread that started it, and its death signal comes
//! when that *thread* ends. So there is one thread for the life of this process, which visits
//! the namespace of each new child; a test's own thread would take the processes with it that
//! it handed to others. This is the lab's only global state besides its counters.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::namespace::Namespace;

struct Order {
    namespace: Arc<Namespace>,
    command: Command,
    answer: SyncSender<std::io::Result<Child>>,
}

/// Starts `command` inside `namespace`.
pub(super) fn spawn(namespace: &Arc<Namespace>, command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = sync_channel(16);
        let builder = std::thread::Builder::new().name("lab-spawner".to_owned());
        builder.spawn(move || serve(&inbox)).expect("a thread can be started");
        orders
    });
    let (answer, answered) = sync_channel(1);
    let order = Order { namespace: Arc::clone(namespace), command, answer };
    let gone = |_| std::io::Error::other("the thread that starts processes has panicked");
    spawner.send(order).map_err(|error| gone(error.to_string()))?;
    answered.recv().map_err(|error| gone(error.to_string()))?
}

fn serve(inbox: &Receiver<Order>) {
    let home = File::open("/proc/thread-self/ns/net").expect("/proc is mounted");
    for Order { namespace, mut command, answer } in inbox {
        let child = namespace.move_thread().and_then(|()| command.spawn());
        // Staying would keep the namespace, and the links in it, alive.
        move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("a thread may go back to where it came from");
        drop(namespace);
        // Nobody waits when the asking thread was killed by a panic; the child is then reaped
        // at the end of this process, which its death signal makes sure of.
        let _ = answer.send(child);
    }
}
