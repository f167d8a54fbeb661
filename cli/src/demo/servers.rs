//! The servers of an example: for every endpoint in the manifests one that greets with its name, by TCP
//! and by UDP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use vipgate_api::Object;
use vipgate_api::k8s::{EndpointSlice, SERVICE_NAME_LABEL};
use vipgate_lab::servers::{Datagrams, Echo, datagrams, echo};
use vipgate_lab::{Link, Node};

use crate::run::source;

/// What a server says first: `my-foo-service (10.77.0.21:6000)`.
pub(super) struct Greeting {
    pub(super) address: SocketAddr,
}

impl Greeting {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let address = text
            .rsplit_once('(')
            .and_then(|(_, rest)| rest.strip_suffix(')'))
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("no server of the demo says {text:?}"))?;
        Ok(Self { address })
    }
}

/// Starts a server on every endpoint of the example, and gives the node the addresses for it.
pub(super) fn start(node: &Node, link: &Link, example: &Path) -> Result<Vec<(Echo, Datagrams)>> {
    let mut names: BTreeMap<SocketAddr, String> = BTreeMap::new();
    for object in source::read_once(example) {
        match &object {
            Object::EndpointSlice(slice) => names.extend(endpoints_of(slice)),
            Object::Backend(backend) => {
                let name = backend.metadata.name.clone().unwrap_or_default();
                for endpoint in &backend.spec.endpoints {
                    // A name is of a server that is there already.
                    let Some(address) = &endpoint.address else { continue };
                    let address: IpAddr = address.parse()?;
                    names.insert((address, endpoint.port).into(), name.clone());
                }
            }
            _ => {}
        }
    }
    let addresses: BTreeSet<IpAddr> = names.keys().map(SocketAddr::ip).collect();
    for address in addresses {
        link.add_address(&format!("{address}/24"))?;
    }
    names
        .into_iter()
        .map(|(address, name)| {
            let greeting = format!("{name} ({address})");
            Ok((echo(node, address, &greeting)?, datagrams(node, address, &greeting)?))
        })
        .collect()
}

fn endpoints_of(slice: &EndpointSlice) -> Vec<(SocketAddr, String)> {
    let labels = slice.metadata.labels.as_ref();
    let name =
        labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)).cloned().unwrap_or_default();
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
    let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port).ok()).collect();
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    addresses
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port)))
        .map(|address| (address, name.clone()))
        .collect()
}
