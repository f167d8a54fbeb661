//! The table of causes, in the order of the chain.

use serde::Serialize;

use super::{Row, Stage};

/// The command on a host, if there is one.
macro_rules! host {
    () => {
        None
    };
    ($command:literal) => {
        Some($command)
    };
}

/// Rows are `Name: Stage, meaning, change, command;`, and behind `host` the command where there is no cluster.
macro_rules! causes {
    ($($name:ident: $stage:ident, $meaning:literal, $change:literal, $command:literal $(, host $host:literal)?;)+) => {
        /// Why a link is broken. Names are stable: programs may go by them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub(in crate::why) enum Cause {
            $(#[doc = $meaning] $name,)+
        }

        impl Cause {
            /// All of them.
            #[cfg(test)]
            pub(in crate::why) const ALL: &[Self] = &[$(Self::$name),+];

            /// What is said of it.
            pub(in crate::why) fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        stage: Stage::$stage,
                        meaning: $meaning,
                        change: $change,
                        command: $command,
                        on_host: host!($($host)?),
                    },)+
                }
            }
        }
    };
}

causes! {
    ManifestInvalid: Object,
        "The manifest cannot be read as it stands; the last version that could be read goes on being served.",
        "mend what the text names; `vipgate lint DIRECTORY` checks the whole",
        "";
    ServicesNeedCluster: Object,
        "`vipgate run` gives addresses to Gateways alone: without a cluster nobody forwards for a Service of type LoadBalancer.",
        "write a Gateway, and a TCPRoute or UDPRoute with the Service as backendRef; then ask for that",
        "", host "vipgate why gateway/NAMESPACE/NAME";
    BeingDeleted: Object,
        "The object was deleted and is still there: a finalizer holds it. What is its own goes with it.",
        "make it anew under another name, or see to the finalizers in metadata.finalizers",
        "{get}";
    NoParentRef: Parent,
        "The route has no parentRef to a Gateway or ListenerSet.",
        "spec.parentRefs: name the Gateway",
        "{edit}";
    ParentNotFound: Parent,
        "A parentRef names a Gateway or ListenerSet that does not exist.",
        "spec.parentRefs: correct name and namespace (the route's own is meant when none is written), or create the Gateway",
        "{edit}";
    ClassNotFound: Class,
        "The GatewayClass does not exist.",
        "spec.gatewayClassName: write a class with controllerName vipgate.dev/gateway-controller, or create one of this name",
        "{edit}";
    ClassNotOurs: Class,
        "The GatewayClass is another controller's.",
        "spec.gatewayClassName: write a class with controllerName vipgate.dev/gateway-controller",
        "{edit}";
    ClassRefused: Class,
        "The GatewayClass is not accepted, and so none of its Gateways.",
        "take spec.parametersRef out: there are no parameters",
        "{edit}";
    ServiceNotLoadBalancer: Class,
        "The Service is of another type than LoadBalancer, so nobody gives it an address.",
        "spec.type: LoadBalancer",
        "kubectl -n {ns} patch service {name} -p '{\"spec\":{\"type\":\"LoadBalancer\"}}'";
    ServiceIsCompanion: Class,
        "The Service only stands for a Gateway, for programs that look for Services.",
        "ask for the Gateway instead",
        "kubectl vipgate why gateway/{ns}/{name}";
    ServiceOtherClass: Class,
        "The Service has the loadBalancerClass of another program.",
        "spec.loadBalancerClass cannot be changed: make the Service anew with vipgate.dev/service",
        "kubectl -n {ns} get service {name} -o yaml > {name}.yaml && kubectl -n {ns} delete service {name}";
    ServiceLeftToOther: Class,
        "The Service has no loadBalancerClass, and another program serves those.",
        "make the Service anew with spec.loadBalancerClass: vipgate.dev/service, or start the controller with --classless take",
        "kubectl -n {install} edit deployment vipgate-controller";
    NoController: Controller,
        "No controller has the Lease: nothing is given out, and no status is written.",
        "see why no replica of the controller runs",
        "kubectl -n {install} describe deployment vipgate-controller";
    ControllerSilent: Controller,
        "The controller did not renew its Lease in time: it hangs, or does not reach the API server (or the clocks differ).",
        "see what it says; a replica that lives takes over by itself",
        "kubectl -n {install} logs deployment/vipgate-controller --tail=50";
    StatusBehind: Controller,
        "The status is of an older state of the object, or there is none yet.",
        "wait a second; if it stays so, see what the controller says of the object",
        "kubectl -n {install} logs deployment/vipgate-controller --tail=50";
    StatusOverwritten: Controller,
        "Another controller keeps overwriting the status, so vipgate stopped for five minutes.",
        "stop the one that the message names, or take the object out of its hands",
        "{get}";
    GatewayParameters: Accepted,
        "`infrastructure.parametersRef` names something, and there are no parameters.",
        "take spec.infrastructure.parametersRef out",
        "{edit}";
    AddressType: Accepted,
        "`spec.addresses` has an entry of a type that is not served.",
        "spec.addresses: write type IPAddress",
        "{edit}";
    OtherRefusal: Accepted,
        "It is not accepted, for a reason that this version of the program does not know.",
        "what the message says; and use the version of the program that the cluster runs",
        "{get}";
    SetNotAllowed: Listener,
        "The Gateway takes no ListenerSets from this namespace.",
        "spec.allowedListeners.namespaces of the Gateway: from: All, or a selector that takes the namespace",
        "{edit}";
    ProtocolUnsupported: Listener,
        "The protocol of a listener is not served.",
        "protocol: write TCP, UDP, TLS, HTTP or HTTPS",
        "{edit}";
    ListenerValue: Listener,
        "A field of a listener has a value that is not served.",
        "what the message names",
        "{edit}";
    ProtocolConflict: Listener,
        "Two listeners on one port have protocols that exclude each other.",
        "port: give one of them another port",
        "{edit}";
    HostnameConflict: Listener,
        "Two listeners on one port have the same hostname, or none.",
        "hostname or port: give one of them another",
        "{edit}";
    TooManyListeners: Listener,
        "The Gateway has 256 ports already, which is all that an address has room for.",
        "put this listener on another Gateway",
        "{edit}";
    RouteKinds: Listener,
        "`allowedRoutes.kinds` names kinds that the protocol does not take.",
        "allowedRoutes.kinds: TCPRoute for TCP, UDPRoute for UDP, TLSRoute for TLS, HTTPRoute for HTTP and HTTPS; or leave it out",
        "{edit}";
    Certificate: Listener,
        "A certificate is missing or malformed, or its key is another's: handshakes are reset.",
        "create the Secret that the message names, of type kubernetes.io/tls, or correct certificateRefs",
        "kubectl -n {ns} create secret tls SECRET --cert=FILE --key=FILE";
    ListenerRefNotPermitted: Listener,
        "A Secret or ConfigMap in another namespace, and no ReferenceGrant there that allows the reference.",
        "create a ReferenceGrant in the namespace of the Secret: from kind Gateway (ListenerSet, for the listener of one) and this namespace, to kind Secret",
        "kubectl create -f GRANT.yaml";
    ClientAuthorityRef: Listener,
        "A ConfigMap with authorities of clients is missing or malformed, or the reference names another kind.",
        "create the ConfigMap with ca.crt in PEM, or correct caCertificateRefs",
        "kubectl -n {ns} create configmap NAME --from-file=ca.crt=FILE";
    ClientAuthorities: Listener,
        "Clients are to show a certificate, and no authority is known to check it by: nobody is let in.",
        "create the ConfigMap that caCertificateRefs names, with ca.crt in PEM",
        "kubectl -n {ns} create configmap NAME --from-file=ca.crt=FILE";
    PoolInvalid: Address,
        "An IPAddressPool cannot be used as it is written.",
        "what the message names",
        "{edit}";
    NoPool: Address,
        "There is no IPAddressPool that an address could be chosen from.",
        "create a pool with addresses of your network that nothing else uses, or let one serve this object (autoAssign, serviceAllocation)",
        "kubectl create -f POOL.yaml", host "write an IPAddressPool into the directory of manifests";
    PoolExhausted: Address,
        "Every address of the pools that serve this object is in use.",
        "spec.addresses of a pool: add a range; or delete what needs its address no more",
        "kubectl -n {install} edit ipaddresspools.vipgate.dev";
    PoolNotFound: Address,
        "The annotation that asks for a pool names one that does not exist.",
        "metadata.annotations: write the name of a pool",
        "{edit}";
    PoolNotAllowed: Address,
        "The pool that is asked for, or has the requested address, does not serve this object.",
        "spec.serviceAllocation of the pool: take its namespace or labels in; or ask for another pool",
        "kubectl -n {install} edit ipaddresspools.vipgate.dev";
    NoAddressOfFamily: Address,
        "The pools have no address of a family that is needed.",
        "spec.addresses of a pool: add a range of that family; or spec.ipFamilyPolicy of the Service: PreferDualStack",
        "kubectl -n {install} edit ipaddresspools.vipgate.dev";
    FamilyMismatch: Address,
        "The Service asks for an address of a family that it does not have.",
        "ask for an address of a family in spec.ipFamilies, or change spec.ipFamilyPolicy",
        "{edit}";
    AddressMalformed: Address,
        "What is asked for is no IP address.",
        "write an address such as 192.0.2.10, or leave it out to have one chosen",
        "{edit}";
    AddressNotInPool: Address,
        "No pool has the requested address.",
        "request an address of a pool, or add this one to spec.addresses of a pool",
        "{edit}";
    AddressReserved: Address,
        "The requested address is never given out: it is a node's, excluded, or no address of a host.",
        "request another address",
        "{edit}";
    AddressInUse: Address,
        "The requested address is somebody else's, and they do not share it.",
        "request another address, or let both share it (annotation vipgate.dev/allow-shared-ip, other ports)",
        "{edit}";
    AddressForeign: Address,
        "A host outside answers for the requested address.",
        "take the address from the host with the MAC that the message names, or put it into spec.exclusions of its pool and request another",
        "{edit}";
    AddressMissing: Address,
        "It has no address, or cannot use the one it asks for.",
        "what the message says",
        "{edit}";
    NotClaimed: Claim,
        "An address is to be had, and no VirtualIP claims it yet.",
        "wait a second; if it stays so, see what the controller says of VirtualIPs",
        "kubectl -n {install} logs deployment/vipgate-controller --tail=50", host "vipgate status";
    NoSpeaker: Node,
        "No node runs a speaker that says anything of the address.",
        "see why the speakers do not run",
        "kubectl -n {install} get daemonset vipgate-speaker && kubectl get speakers", host "vipgate status";
    SpeakersLost: Node,
        "The nodes that could have the address are not seen by the others any more.",
        "see to the nodes and their speakers; the network between them has to carry the group's port",
        "kubectl -n {install} get pods -o wide && kubectl get nodes";
    NoAdvertisement: Node,
        "Advertisements select the pool, and none of them takes this Service or Gateway.",
        "serviceSelectors or gatewaySelectors of an advertisement: take it in, or write one of its own",
        "kubectl -n {install} get l2advertisements.vipgate.dev,bgpadvertisements.vipgate.dev -o yaml";
    NodeNotSelected: Node,
        "Advertisements of the address take none of the nodes.",
        "nodeSelectors of an advertisement: select nodes that there are, or label a node",
        "kubectl label node {node} KEY=VALUE", host "vipgate run DIR --label KEY=VALUE";
    NoPeer: Node,
        "The address is announced by BGP alone, and no BGPPeer that can be used takes a node.",
        "create a BGPPeer, or correct its nodeSelectors and the peers of the BGPAdvertisement",
        "kubectl -n {install} get bgppeers.vipgate.dev -o yaml";
    NoSubnet: Node,
        "No node has an interface in the subnet of the address, so nobody would hear its ARP.",
        "give the pool addresses of the nodes' subnet, name interfaces in an L2Advertisement, or announce by BGP",
        "kubectl -n {install} edit ipaddresspools.vipgate.dev", host "ip -br address";
    NoInterface: Node,
        "The interfaces that the L2Advertisement names do not exist on the nodes, or do not speak ARP.",
        "interfaces of the L2Advertisement: write names of interfaces that the nodes have",
        "kubectl -n {install} edit l2advertisements.vipgate.dev", host "ip -br link";
    LinkDown: Node,
        "The interface that the address would be announced on is down or has no carrier.",
        "plug it in, or set it up: ip link set INTERFACE up",
        "kubectl debug node/{node} -it --image=busybox -- ip link", host "ip -br link";
    NoLocalEndpoint: Node,
        "`externalTrafficPolicy: Local`, and no node has a ready endpoint of the Service.",
        "run a pod of it that becomes ready, or spec.externalTrafficPolicy: Cluster",
        "kubectl -n {ns} get endpointslices -l kubernetes.io/service-name={name} -o wide";
    NoBackend: Node,
        "The annotation vipgate.dev/no-backends says Withdraw, and no backend has an endpoint that is ready.",
        "see to the backends; or take the annotation away, and connections are reset instead",
        "kubectl -n {ns} get endpointslices -o wide";
    NothingBound: Node,
        "None of the listeners could be bound on any node, so none takes the address.",
        "end the program that has the port, or write another port",
        "kubectl debug node/{node} -it --image=busybox -- netstat -ltnp", host "ss -ltnp 'sport = :{port}'";
    HostFailed: Node,
        "The address could not be put on the host or announced there.",
        "what the message says: often CAP_NET_ADMIN or CAP_NET_RAW is missing",
        "kubectl -n {install} logs daemonset/vipgate-speaker --tail=50", host "vipgate status";
    NotTaken: Owner,
        "No node has taken the address yet; it is asked for on the wire, or another node is awaited.",
        "wait some seconds; if it stays so, see what the node says",
        "kubectl get speakers {node} -o yaml", host "vipgate status";
    SeveralOwners: Owner,
        "Several nodes have the address at once. For a moment that is so while it moves; if it lasts, they do not hear each other.",
        "let UDP of the group's port through between the nodes; give all of them the same key",
        "kubectl get speakers -o yaml", host "vipgate status";
    HeldElsewhere: Wire,
        "A host outside of the group answers for the address, so no node takes it.",
        "take the address from the host with that MAC, or put it into spec.exclusions of the pool",
        "ip neighbour show to {address}", host "ip neighbour show to {address}";
    Defended: Wire,
        "Another host claims the address too; it is defended, and some clients reach the other.",
        "take the address from the host with that MAC, or exclude it from the pool and request another",
        "ip neighbour show to {address}", host "ip neighbour show to {address}";
    NoRouter: Wire,
        "The address is held, and no router was told: no BGP session that carries it is established.",
        "see the last error of each session, and the router's own side of it",
        "kubectl vipgate bgp", host "vipgate bgp";
    PortTaken: Socket,
        "The port cannot be bound on the node: another program has it, or the right to bind it is missing.",
        "end the program that has the port, or write another port",
        "kubectl debug node/{node} -it --image=busybox -- netstat -ltnp", host "ss -ltnp 'sport = :{port}'";
    CertificateNotThere: Socket,
        "The listener is bound, and its certificate has not reached the node: handshakes are reset.",
        "wait a second; if it stays so, see whether the copy of the Secret is in the namespace of vipgate",
        "kubectl -n {install} get secrets", host "vipgate status";
    NotServedYet: Socket,
        "The node does not serve this state of the object yet.",
        "wait a second; if it stays so, see what the speaker of the node says",
        "kubectl -n {install} logs daemonset/vipgate-speaker --tail=50", host "vipgate status";
    NoRoute: Route,
        "No route is attached to the listener: connections are accepted and reset, datagrams are dropped.",
        "create a route with a parentRef to it",
        "kubectl create -f ROUTE.yaml", host "write a route with a parentRef to it into the directory of manifests";
    NoMatchingListener: Route,
        "The Gateway has no listener of the sectionName or port in the parentRef.",
        "spec.parentRefs: write the name or port of a listener that there is",
        "{edit}";
    RouteNotAllowed: Route,
        "The listener takes no routes of this kind, or none of this namespace.",
        "allowedRoutes of the listener: namespaces.from: All, or a selector; kinds: leave it out",
        "{edit}";
    NoHostname: Route,
        "The hostnames of the route and of the listener have none in common.",
        "spec.hostnames: write one that the listener's hostname covers",
        "{edit}";
    RouteValue: Route,
        "The route asks for something that a stream of bytes cannot be given.",
        "take out the field that the message names",
        "{edit}";
    Superseded: Route,
        "An older route has the listener, so this one gets no connections.",
        "delete the older route, put both into one with weights, or give this one another listener",
        "{edit}";
    RulesDropped: Route,
        "Only the first rule of the route is served.",
        "move the backendRefs into one rule",
        "{edit}";
    ClientCertificate: Backend,
        "The certificate that backends are to be shown cannot be used: those that ask for one get none.",
        "create the Secret that spec.tls.backend.clientCertificateRef names, or correct it",
        "kubectl -n {ns} create secret tls SECRET --cert=FILE --key=FILE";
    NoBackendRef: Backend,
        "The route has no backendRef, so connections are reset.",
        "spec.rules[0].backendRefs: name a Service or a Backend with its port",
        "{edit}";
    NoWeight: Backend,
        "Every backendRef of the route has weight 0, so connections are reset.",
        "weight: 1 for one of them",
        "{edit}";
    BackendNotFound: Backend,
        "A backendRef names a Service, Backend or port that does not exist: its share is reset.",
        "backendRefs: correct name, namespace and port, or create it",
        "{edit}";
    BackendNotPermitted: Backend,
        "A backendRef into another namespace, and no ReferenceGrant there that allows it.",
        "create a ReferenceGrant in the namespace of the backend: from the kind and namespace of the route, to kind Service",
        "kubectl create -f GRANT.yaml";
    BackendKind: Backend,
        "A backendRef names a kind that is not served.",
        "kind: write Service, or Backend of group vipgate.dev",
        "{edit}";
    BackendTls: Backend,
        "The BackendTLSPolicy of a backend cannot be followed: its share is reset rather than sent in the clear.",
        "see the conditions of the policy",
        "kubectl get backendtlspolicies -A -o yaml";
    BackendRefused: Backend,
        "All endpoints of a backend are addresses that nothing is forwarded to (loopback, link-local, metadata, a VIP).",
        "give the backend addresses on the network",
        "{edit}";
    NoEndpoints: Endpoint,
        "A backend has no endpoint that is ready: its share is reset.",
        "see why its pods are not ready, and whether the selector of the Service is theirs",
        "kubectl -n {ns} get endpointslices -o wide && kubectl -n {ns} get pods";
    NameNotResolved: Endpoint,
        "A DNS name of a Backend does not resolve.",
        "spec.endpoints of the Backend: correct the name; see which name server is asked",
        "kubectl -n {ns} get backends.vipgate.dev -o yaml", host "getent ahosts NAME";
    EndpointsUnreachable: Endpoint,
        "No endpoint of a backend could be reached when it was last tried.",
        "see whether it runs and listens there, and whether a firewall lets this node through",
        "nc -vz {address} {port}", host "nc -vz {address} {port}";
    ServiceNoEndpoints: Endpoint,
        "The Service has no endpoint that is ready, so the kernel forwards to nobody.",
        "see why its pods are not ready, and whether spec.selector is theirs",
        "kubectl -n {ns} get endpointslices -l kubernetes.io/service-name={name} -o wide";
    PolicyNotFollowed: Client,
        "A policy for this Gateway or its backends is not followed, or not in full.",
        "what the message names",
        "{edit}";
}
