//! The plan: what this node has to make true. Plain data, compared and swapped as a whole.

mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};
use vipgate_api::k8s::ObjectMeta;
use vipgate_api::vipgate::Transport;
use vipgate_api::{ObjectKey, ObjectRef};

pub use self::settings::{
    AccessLog, BackendSettings, BackendTls, Balancing, Check, ClientAddress, ClientValidation,
    Keepalive, ListenerSettings, ProxyVersion, Rate, SubjectName, TlsRange, TlsVersion,
};
use crate::bgp;
use crate::exclusion::Exclusion;
use crate::refusal::Refusal;

/// Everything this node has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Addresses to hold.
    pub vips: BTreeMap<IpAddr, Vip>,
    /// What to accept connections for, in the order of their ids. One that stays as it was is the very
    /// same in the next plan.
    pub listeners: Vec<Arc<Listener>>,
    /// The Gateways and ListenerSets that are in the plan with all that they ask for, and the BGPPeers that
    /// take this node: those that have a generation.
    #[serde(skip)]
    pub sources: BTreeMap<ObjectRef, Source>,
    /// The BGP sessions to hold.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "by_key")]
    pub peers: bgp::Peers,
    /// BGPPeers that take this node and have no session, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "by_key")]
    pub held_back: BTreeMap<ObjectKey, Refusal>,
    /// Why the VIPs are given to whoever else of the group can have them, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gives_way: Option<Exclusion>,
}

impl Plan {
    /// The listeners of a Gateway, on all of its addresses.
    pub fn listeners_of(&self, gateway: &ObjectKey) -> &[Arc<Listener>] {
        &self.listeners[self.places_of(gateway)]
    }

    /// The listeners of a Gateway, by their places in [`Self::listeners`].
    pub(crate) fn places_of(&self, gateway: &ObjectKey) -> Range<usize> {
        let start = self.listeners.partition_point(|listener| listener.id.gateway < *gateway);
        let own = |listener: &Arc<Listener>| listener.id.gateway == *gateway;
        start..start + self.listeners[start..].partition_point(own)
    }
}

/// Keys of JSON are texts: `namespace/name`.
fn by_key<T: Serialize, S: Serializer>(
    map: &BTreeMap<ObjectKey, T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter().map(|(key, value)| (key.to_string(), value)))
}

/// Which object of a name, and which state of its spec: one that was deleted and made again under
/// the same name begins with generation 1 again, and is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.uid`.
    pub uid: Option<String>,
}

impl Source {
    /// What an API server says of an object; nothing where there is none.
    pub(crate) fn of(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self { generation: metadata.generation?, uid: metadata.uid.clone() })
    }
}

/// One virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// Whether the wire has to be asked first (RFC 5227): the claim is new. Where only routers are told of
    /// it, the nodes on its LAN have to ask.
    pub probe: bool,
    /// How the address becomes reachable.
    pub announce: Announce,
    /// Whether the kernel forwards (kube-proxy or the CNI, for Services): it is held and announced
    /// without any listener of ours. False as soon as a Gateway has the address too: then there are
    /// listeners for the ports of that, and the kernel's rules for the others come before them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kernel: bool,
    /// Sum of the weights of the preferences that this node meets.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: u32,
    /// Whether it moves to a node of higher weight, and not only when it has to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preempt: bool,
    /// What routers are told of it while it serves here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<bgp::Route>,
    /// Why routers are told of it here only until they know it from another node, if so: this one gives its
    /// VIPs away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yields: Option<Exclusion>,
    /// By whom its candidates go, and why, where no node fits all who have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compromise: Option<Exclusion>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_default<T: Default + PartialEq>(value: &Arc<T>) -> bool {
    **value == T::default()
}

impl Vip {
    /// One without anything special.
    pub fn new(address: IpAddr, announce: Announce) -> Self {
        Self {
            address,
            probe: false,
            announce,
            kernel: false,
            weight: 0,
            preempt: false,
            routes: Vec::new(),
            yields: None,
            compromise: None,
        }
    }
}

/// How an address becomes reachable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Announce {
    /// In 127.0.0.0/8: the kernel has it already; nothing to put on the host, nothing to say.
    Loopback,
    /// By ARP on these interfaces.
    Layer2(Vec<String>),
    /// Not on the LAN: only routers are told of it ([`Vip::routes`]), from every node that can have it.
    Routed,
    /// Not from this node.
    Nowhere(Exclusion),
    /// Whoever made this plan is no node (the controller): the nodes decide and report.
    ByNodes,
}

/// Which: a listener of a Gateway on one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListenerId {
    /// The Gateway.
    pub gateway: ObjectKey,
    /// The ListenerSet that it comes from; `None` for the Gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<ObjectKey>,
    /// The listener's name (`sectionName`).
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listener {} on {}", self.gateway, self.name, self.address)
    }
}

/// One listener on one address. Several that take connections by name (HTTP; HTTPS and TLS) may have
/// one address and port in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Which.
    pub id: ListenerId,
    /// Where it listens.
    pub bind: SocketAddr,
    /// What is done with a new connection.
    pub service: Service,
    /// Every route that is attached, also those that an older one supersedes: a connection lives
    /// on as long as its route is in here.
    pub attached: BTreeSet<ObjectRef>,
    /// How it treats its clients.
    #[serde(skip_serializing_if = "ListenerSettings::is_plain")]
    pub settings: Arc<ListenerSettings>,
}

impl Listener {
    /// Where it sends connections, with the name that they ask for where that decides.
    pub fn targets(&self) -> impl Iterator<Item = (Option<&str>, &Arc<Target>)> {
        let only = match &self.service {
            Service::Tcp(target) | Service::Udp(target) => target.as_ref(),
            Service::Http(_) | Service::Https(..) | Service::Tls(..) => None,
        };
        let by_name = self.by_name().into_iter().flat_map(|by_name| &by_name.targets);
        let by_name = by_name.map(|(name, target)| (name.as_deref(), target));
        only.map(|target| (None, target)).into_iter().chain(by_name)
    }

    /// What it does with names, where clients ask for one.
    pub fn by_name(&self) -> Option<&ByName> {
        match &self.service {
            Service::Tcp(_) | Service::Udp(_) => None,
            Service::Http(by_name) | Service::Https(by_name, _) | Service::Tls(by_name, _) => {
                Some(by_name)
            }
        }
    }

    /// Whether it sends connections where this route says.
    pub fn serves(&self, route: &ObjectRef) -> bool {
        self.targets().any(|(_, target)| target.route == *route)
    }

    /// Whether it ends TLS and has nothing to end it with: handshakes are reset.
    pub fn lacks_certificate(&self) -> bool {
        self.termination().is_some_and(|end| end.certificates.is_empty())
    }

    /// How it ends TLS, if it does.
    pub fn termination(&self) -> Option<&Termination> {
        match &self.service {
            Service::Https(_, end) | Service::Tls(_, Tls::Terminate(end)) => Some(end),
            Service::Tcp(_) | Service::Udp(_) | Service::Http(_) => None,
            Service::Tls(_, Tls::Passthrough) => None,
        }
    }

    /// What its port is a port of.
    pub fn transport(&self) -> Transport {
        match &self.service {
            Service::Udp(_) => Transport::Udp,
            Service::Tcp(_) | Service::Http(_) | Service::Https(..) | Service::Tls(..) => {
                Transport::Tcp
            }
        }
    }
}

/// What is done with what a listener gets: connections, or datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Service {
    /// Forwarded as it comes. Without a target it is accepted and reset.
    Tcp(Option<Arc<Target>>),
    /// Datagrams: each client has one endpoint for as long as it is heard. Without a target they
    /// are dropped.
    Udp(Option<Arc<Target>>),
    /// The Host of the first request says which listener of the port and which of its targets is
    /// meant; the bytes are forwarded as they come. No peek where there is nothing to choose.
    Http(ByName),
    /// TLS ends here. The server name (SNI) of the handshake says which listener of the port and
    /// which of its targets is meant; what is inside is forwarded as it comes. A client that asks for
    /// a name that nobody has is told so.
    Https(ByName, Termination),
    /// The same for what is not HTTP; TLS may end at the backend. A client that asks for a name that
    /// nobody has is reset.
    Tls(ByName, Tls),
}

/// Where TLS ends that is not HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tls {
    /// At the backend: everything is forwarded as it comes.
    Passthrough,
    /// Here: what is inside is forwarded as it comes.
    Terminate(Termination),
}

/// How TLS is ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Termination {
    /// The server name says which is shown; those that can be used.
    pub certificates: Vec<Arc<Certificate>>,
    /// What is agreed on of what a client offers (ALPN, RFC 7301); nothing is said when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// Which certificates clients have to show, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Arc<ClientValidation>>,
}

/// A choice by the name that the client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByName {
    /// Names that the listener takes: exact, or `*.` and a suffix; every name when absent. Of the
    /// listeners of a port the most specific that matches is meant.
    pub hostname: Option<String>,
    /// Where connections go, the most specific name first; a name is as above. What matches none
    /// is reset.
    pub targets: Vec<(Option<String>, Arc<Target>)>,
}

/// A certificate with its key, checked: the chain could be read and the key belongs to it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The Secret that it comes from.
    pub secret: ObjectKey,
    /// DNS names that it is for, in the forms of [`ByName::hostname`].
    pub names: Vec<String>,
    /// DER, the server's own first.
    #[serde(skip)]
    pub chain: Vec<Vec<u8>>,
    /// DER: PKCS#8, PKCS#1 or SEC1. Never shown.
    #[serde(skip)]
    pub key: Vec<u8>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} for {})", self.secret, self.names.join(", "))
    }
}

/// Where a route sends connections: one share is picked by weight over all of them, then an
/// endpoint inside it. A picked share without endpoints resets the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The route.
    pub route: ObjectRef,
    /// The backendRefs in the order of the route.
    pub shares: Vec<BackendShare>,
}

/// One backendRef with its weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendShare {
    /// For people: `Service default/web:80`.
    pub backend: String,
    /// Share of the connections is `weight / sum of weights`.
    pub weight: u32,
    /// Usable endpoints, sorted; empty means that this share is reset.
    pub endpoints: Vec<Endpoint>,
    /// Why there are no endpoints, when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// How connections get to it.
    #[serde(skip_serializing_if = "is_default")]
    pub settings: Arc<BackendSettings>,
    /// Where the settings want it ([`ClientAddress::Preserve`]): those of the endpoints to which connections come
    /// from the client's own address.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub preserved: Preserved,
}

/// Endpoints on this node, each with the network in which hosts reach it without this node, if there is one:
/// what it answers to a client from there would not come by.
pub type Preserved = BTreeMap<Endpoint, Option<IpNet>>;

impl BackendShare {
    /// What is to be said where the settings want clients' addresses preserved and that is not so for all
    /// endpoints; `None` where all is as it was wished.
    pub fn not_preserved(&self) -> Option<String> {
        let elsewhere = self.endpoints.len() - self.preserved.len();
        let wanted = self.settings.client_address == ClientAddress::Preserve;
        (wanted && elsewhere > 0).then(|| {
            format!(
                "client addresses are preserved for endpoints on the client's entry node only: \
                 {elsewhere} of {} endpoints are elsewhere",
                self.endpoints.len()
            )
        })
    }
}

/// Where one connection can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Endpoint(pub SocketAddr);
