//! The two rtnetlink connections: one asks and changes, the other hears.
//!
//! They are apart because an overrun of the hearing socket must not lose the answer to a request,
//! and because events carry the sequence number of whoever caused them, which may equal one of
//! ours.
//!
//! Both need the task that drives them; it ends with the handle or stream given out here.

use std::io;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio_util::task::TaskTracker;

/// What the kernel tells without being asked.
#[derive(Debug)]
pub(super) enum Event {
    /// Something changed.
    Changed(RouteNetlinkMessage),
    /// More changed than the socket could hold (ENOBUFS): what is known may be wrong.
    Lost,
}

/// Opens the connection for requests.
pub(super) fn requests(tasks: &TaskTracker) -> io::Result<Handle> {
    let (connection, handle, _) = new_connection()?;
    tasks.spawn(connection);
    Ok(handle)
}

/// Subscribes to changes of links and addresses. The stream ends if the socket fails.
///
/// It has no bound of its own, yet does not grow: the one task that reads it reads all of it each
/// time it wakes, on the thread that fills it.
pub(super) fn events(tasks: &TaskTracker) -> io::Result<BoxStream<'static, Event>> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, _, messages) = new_multicast_connection(&groups)?;
    tasks.spawn(connection);
    let events = messages.filter_map(|(message, _)| async move {
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => Some(Event::Changed(inner)),
            NetlinkPayload::Overrun(_) => Some(Event::Lost),
            _ => None,
        }
    });
    Ok(events.boxed())
}

/// Every link, then every address. One after the other: `execute` asks at once, and the kernel
/// refuses a second dump on the same socket (EBUSY).
pub(super) async fn dump(handle: &Handle) -> Result<Vec<RouteNetlinkMessage>, rtnetlink::Error> {
    let links = handle.link().get().execute().map_ok(RouteNetlinkMessage::NewLink);
    let mut dump: Vec<_> = links.try_collect().await?;
    let addresses = handle.address().get().execute().map_ok(RouteNetlinkMessage::NewAddress);
    dump.extend(addresses.try_collect::<Vec<_>>().await?);
    Ok(dump)
}
