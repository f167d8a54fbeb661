//! Every check, once: its name, what it looks at, when that is wrong, why it matters and what mends it. The
//! table of `docs/check.md` is made from this.

use serde::{Serialize, Serializer};

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Scope {
    /// The host that it runs on.
    Node,
    /// What an API server tells.
    Cluster,
}

impl Scope {
    /// As a heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Node => "this host",
            Self::Cluster => "the cluster",
        }
    }
}

/// What there is to say of a check, whatever it finds.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) scope: Scope,
    /// Stable: programs may look for it.
    pub(crate) id: &'static str,
    /// What is looked at.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page is made of it, by a test"))]
    pub(crate) looks_at: &'static str,
    /// When it is a warning, and when an error.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page is made of it, by a test"))]
    pub(crate) wrong: &'static str,
    /// Why that matters.
    pub(crate) why: &'static str,
    /// What to write; a finding says it more exactly where it can.
    pub(crate) mend: &'static str,
}

/// A check: its place in [`ENTRIES`], by which checks are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Check(usize);

impl Check {
    /// What there is to say of it.
    pub(crate) fn entry(self) -> &'static Entry {
        &ENTRIES[self.0]
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.entry().id)
    }
}

macro_rules! checks {
    ($($scope:ident $name:ident $id:literal {
        $looks_at:literal, $wrong:literal, $why:literal, $mend:literal $(,)?
    })+) => {
        /// The places of the checks.
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "named as the constants")]
        enum Place { $($name,)+ }

        impl Check {
            $(pub(crate) const $name: Self = Self(Place::$name as usize);)+

            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];
        }

        static ENTRIES: &[Entry] = &[$(Entry {
            scope: Scope::$scope,
            id: $id,
            looks_at: $looks_at,
            wrong: $wrong,
            why: $why,
            mend: $mend,
        },)+];
    };
}

checks! {
    Node RUNNING "running" {
        "the vipgate that answers on the admin socket, its version and its problems",
        "warning: it has problems, or is of another version than the one that asks",
        "What it cannot serve it names itself; and two versions may read manifests differently.",
        "`vipgate status` shows the problems, `vipgate why VIP` the way to one address",
    }
    Node MANIFESTS "manifests" {
        "whether all that the directory of `--manifests` has can be read",
        "error: the directory, a file or an object cannot; warning: there is something to note",
        "What cannot be read is not served, and what hangs on it was not looked at here.",
        "`vipgate lint DIR` names each place, and what to write there",
    }
    Node CAPABILITIES "capabilities" {
        "CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE of this process",
        "error: one of the first two is missing, and a pool is not of 127.0.0.0/8; warning: the \
         third is missing, \
         and ports below 1024 are kept from others",
        "Without NET_ADMIN no VIP can be put on the host, without NET_RAW none is announced by ARP or NDP.",
        "run it as root, or grant the service `AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW \
         CAP_NET_BIND_SERVICE`",
    }
    Node OPEN_FILES "open-files" {
        "the hard limit on open files, up to which vipgate raises its own",
        "warning: below 65,536; error: below 1,024",
        "A connection that is forwarded takes two files; at the limit accepting stops until one ends.",
        "`LimitNOFILE=1048576` in the systemd unit, or `ulimit -Hn 1048576` before the start",
    }
    Node KERNEL_NFTABLES "kernel-nftables" {
        "whether nf_tables can be asked, as the guard and the silence of the kernel need it",
        "error: the kernel lacks it",
        "VIPs are put on a host only where the kernel can be kept from answering ARP for them.",
        "`modprobe nf_tables`, or a kernel with CONFIG_NF_TABLES, CONFIG_NF_TABLES_ARP, \
         CONFIG_NF_TABLES_IPV4 and \
         CONFIG_NF_TABLES_IPV6",
    }
    Node KERNEL_PACKETS "kernel-packets" {
        "whether a packet socket (AF_PACKET) with a BPF filter can be opened on an interface",
        "error: the kernel, or a seccomp profile, refuses it",
        "ARP and NDP for VIPs are spoken by vipgate itself, through such sockets.",
        "a kernel with CONFIG_PACKET, and a seccomp profile that allows socket(AF_PACKET) and \
         SO_ATTACH_FILTER",
    }
    Node KERNEL_SOCKETS "kernel-sockets" {
        "whether a socket takes SO_REUSEPORT and IP_FREEBIND, and bytes can be moved by splice",
        "error: one of them is refused",
        "Listeners are bound before their address is there, and connections are pumped inside the kernel.",
        "a kernel of Linux 3.9 or newer, and a seccomp profile that allows splice",
    }
    Node INTERFACES "interfaces" {
        "the interfaces of the host, and which of them are in the subnets of the pools",
        "warning: no interface, or none that is up, is in the subnet of a range",
        "By ARP and NDP an address is announced only on an interface that is in its subnet; \
         without one there \
         have to be routers that are told by BGP.",
        "bring the interface up, give the host an address of the subnet, or announce the pool by BGP",
    }
    Node MTU "mtu" {
        "the MTU of the interfaces with addresses, those of containers and tunnels left out",
        "warning: they differ, or one is below 1,280",
        "Datagrams that fit the one side do not fit the other, and IPv6 does not work below 1,280.",
        "give both the same: `ip link set IFACE mtu 1500`, and the same on the switch",
    }
    Node POOL_ADDRESSES "pool-addresses" {
        "addresses of this host and of its gateways that lie in a pool",
        "error: there are some",
        "An address that the host has already is never served as a VIP, and one that a router has \
         takes the network down.",
        "take the address out of the pool: `spec.exclusions`",
    }
    Node ADDRESS_CONFLICTS "address-conflicts" {
        "who answers for the addresses of the pools, by three ARP or NDP probes each (RFC 5227, \
         RFC 4862); only \
         with `--probe`, as it sends packets",
        "error: another host answers",
        "Such an address is passed over, or waits where it was asked for; mostly it is in a DHCP range.",
        "take it out of the pool (`spec.exclusions`), or out of the range of the DHCP server",
    }
    Node ANNOUNCERS "announcers" {
        "processes on this host that announce addresses as well: keepalived, kube-vip, MetalLB, \
         PureLB, OpenELB, ucarp",
        "warning: one runs",
        "Two programs that announce one address take it from each other, and clients get to either.",
        "see that their addresses are in no pool of vipgate, or stop them",
    }
    Node PORTS "ports" {
        "who has the ports of the listeners, of the group (7947/UDP) and of the metrics (7473)",
        "error: another program has 7947/UDP, or a listener's port on an address of a pool; \
         warning: it has the \
         port of a listener on all addresses, or that of the metrics",
        "A port is bound by one program; a listener whose port is taken on all addresses is \
         served by a detour that \
         needs CONFIG_NFT_NAT.",
        "stop that program, bind it to an address of the host, or use another port",
    }
    Node RP_FILTER "rp-filter" {
        "net.ipv4.conf.*.rp_filter of the interfaces with addresses",
        "warning: strict (1) where there is more than one such interface, or a pool outside of \
         every subnet",
        "The kernel drops what comes in by another interface than the way back would take, without a word.",
        "`sysctl -w net.ipv4.conf.IFACE.rp_filter=2`, and the same in /etc/sysctl.d",
    }
    Node ARP "arp" {
        "proxy_arp, proxy_arp_pvlan, arp_ignore and arp_announce of the interfaces with addresses",
        "error: proxy_arp_pvlan is on, or kube-ipvs0 is there without arp_ignore >= 1 and \
         arp_announce = 2; warning: \
         proxy_arp is on",
        "The kernel then answers ARP for VIPs that another node has. For VIPs of its own vipgate \
         silences it, \
         whatever arp_ignore says.",
        "`sysctl -w net.ipv4.conf.IFACE.proxy_arp=0`; with IPVS `ipvs.strictARP: true` of kube-proxy",
    }
    Node FORWARDING "forwarding" {
        "net.ipv4.ip_forward, where something forwards for Services or containers, and send_redirects",
        "warning: off, though such rules are there; or on with send_redirects on an interface of a pool",
        "kube-proxy forwards a Service's VIP to pods only with it. With send_redirects a node \
         that lost a VIP may \
         lead clients to a wrong gateway for minutes.",
        "`sysctl -w net.ipv4.ip_forward=1`, `sysctl -w net.ipv4.conf.IFACE.send_redirects=0` (and `all`)",
    }
    Node NONLOCAL_BIND "nonlocal-bind" {
        "net.ipv4.ip_nonlocal_bind and net.ipv6.ip_nonlocal_bind",
        "warning: on",
        "vipgate does not need it (IP_FREEBIND). With it any program can bind a VIP before vipgate does.",
        "`sysctl -w net.ipv4.ip_nonlocal_bind=0`, unless another program needs it",
    }
    Node LOCAL_PORTS "local-ports" {
        "net.ipv4.ip_local_port_range and what is reserved of it",
        "warning: fewer than 16,384 ports, or a port of vipgate or of a listener among them",
        "Each connection to a backend takes one for its address and port; a port that a client \
         socket has by chance \
         cannot be bound by a listener.",
        "`sysctl -w net.ipv4.ip_local_port_range='32768 60999'`, \
         `net.ipv4.ip_local_reserved_ports` for single ports",
    }
    Node BACKLOG "backlog" {
        "net.core.somaxconn, net.ipv4.tcp_max_syn_backlog and net.ipv4.tcp_syncookies",
        "warning: the first is below the backlog of listeners (4,096), the second below 1,024, or \
         cookies are off",
        "The kernel cuts the queue of connections that wait to be accepted; in a burst or flood \
         new ones are dropped.",
        "`sysctl -w net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096 net.ipv4.tcp_syncookies=1`",
    }
    Node IPV6 "ipv6" {
        "net.ipv6.conf.all, .lo and of the interfaces: disable_ipv6",
        "error: off on lo or everywhere, and a pool has IPv6 addresses; warning: off on an \
         interface of such a pool",
        "An IPv6 VIP is put on lo and announced by NDP on an interface.",
        "`sysctl -w net.ipv6.conf.lo.disable_ipv6=0` (and of the interface)",
    }
    Node CONNTRACK "conntrack" {
        "nf_conntrack_count against nf_conntrack_max",
        "warning: more than 80 % are in use; error: more than 95 %",
        "When the table is full new connections are dropped without a word, those of Services first.",
        "`sysctl -w net.netfilter.nf_conntrack_max=N`, twice of what it is",
    }
    Node CLOCK "clock" {
        "whether the clock is kept by NTP, as systemd says, and whether it is before the time of \
         this release",
        "warning: it is not kept; error: it is years behind",
        "Certificates are valid by it, and logs of several nodes are read side by side. Who has a \
         VIP does not \
         hang on it.",
        "`timedatectl set-ntp true`, or run chrony",
    }

    Cluster API_SERVER "api-server" {
        "the version of the API server",
        "error: older than Kubernetes 1.33, or it does not answer",
        "Older ones lack kinds and rules of validation that vipgate relies on.",
        "upgrade the cluster",
    }
    Cluster CLOCK_SKEW "clock-skew" {
        "the clock of the API server against the one of the host that asks",
        "warning: more than 5 s apart",
        "Ages and times of events mislead, and certificates may be taken for not valid yet.",
        "run NTP on both",
    }
    Cluster CRDS "crds" {
        "the CustomResourceDefinitions of vipgate: there, served, and as this version has them",
        "error: one is missing; warning: one differs",
        "A field that the definition does not know is dropped by the API server without a word.",
        "`vipgate crds > crds.yaml`, `kubectl apply --server-side -f crds.yaml`; or upgrade the chart",
    }
    Cluster GATEWAY_API "gateway-api" {
        "the CRDs of the Gateway API: release, channel, and which of the kinds that vipgate \
         serves are served",
        "warning: none is there, TCPRoute is missing, the release is not supported, or CRDs are of several",
        "Without them only Services get addresses; TCPRoute is in the standard channel from v1.6 on.",
        "install the CRDs of a release from v1.2 to v1.6: v1.6 `standard-install.yaml`, before that \
         `experimental-install.yaml`",
    }
    Cluster KUBE_PROXY "kube-proxy" {
        "mode and ipvs.strictARP, in the ConfigMap kube-system/kube-proxy",
        "error: mode ipvs without strictARP",
        "With IPVS every node has every Service's VIP on kube-ipvs0; without strictARP each \
         answers ARP for it, and \
         clients reach a node by chance.",
        "`kubectl -n kube-system edit configmap kube-proxy`: `ipvs: {strictARP: true}`, or `mode: \
         nftables`; then \
         restart its pods",
    }
    Cluster CONTROLLERS "controllers" {
        "other LoadBalancer controllers, by their workloads and API groups: MetalLB, kube-vip, \
         Cilium (LB IPAM, L2 \
         announcements), ServiceLB of k3s, OpenELB, PureLB, LoxiLB, cloud controllers; pools of MetalLB",
        "error: a pool of MetalLB has addresses of a pool of ours; warning: another one is there",
        "Two of them give addresses to the same Services, or announce the same address.",
        "remove the other one, or have Services name theirs by `spec.loadBalancerClass`; of vipgate \
         `vipgate.dev/service`",
    }
    Cluster CNI "cni" {
        "the CNI, by its DaemonSets and its settings",
        "warning: it speaks BGP itself beside BGPPeers of ours (Calico, kube-router, Cilium), or \
         announces VIPs",
        "One host holds one BGP session with a router as a rule, and TCP port 179 once; an eBPF \
         data path decides \
         before our sockets do.",
        "see docs/bgp.md: let the CNI keep port 179 (vipgate calls out), and give vipgate an \
         address or router of its own",
    }
    Cluster NAMESPACE "namespace" {
        "the install namespace, and the Pod Security level that is enforced there",
        "error: not there, or the level is not privileged",
        "Speakers need the network of the host and NET_ADMIN; another level refuses their pods.",
        "`kubectl label namespace vipgate-system pod-security.kubernetes.io/enforce=privileged \
         --overwrite`",
    }
    Cluster CONTROLLER "controller" {
        "the Lease vipgate-controller: who leads, and whether it is renewed",
        "error: nobody leads, or the Lease is not renewed",
        "Without a leader addresses stay and are served, but none is given out and no status changes.",
        "`kubectl -n vipgate-system get pods -l app.kubernetes.io/component=controller`, and their logs",
    }
    Cluster SPEAKERS "speakers" {
        "Speakers against Nodes, their errors, and the pods of the speakers",
        "error: no node has a speaker, or no speaker can have a VIP; warning: a node has none, \
         one has errors, or its \
         pod is not ready",
        "An address is announced from nodes with a speaker, and taken over by another such node.",
        "`kubectl get speakers -o wide`; the DaemonSet's nodeSelector and tolerations for nodes \
         without one",
    }
    Cluster VERSIONS "versions" {
        "the images of the pods of vipgate",
        "warning: they differ",
        "Speakers of different versions may choose backends differently. While an upgrade is \
         under way that is so.",
        "`kubectl -n vipgate-system rollout status daemonset/vipgate-speaker`",
    }
    Cluster RIGHTS "rights" {
        "what the ServiceAccounts vipgate-controller and vipgate-speaker may do (SubjectAccessReview)",
        "error: something is missing",
        "A kind that may not be read or written is not served, and its status stays as it was.",
        "`helm upgrade` of the chart, which brings the ClusterRoles and Roles back",
    }
    Cluster POOLS "pools" {
        "IPAddressPools against each other, addresses of nodes, pod networks and Service networks",
        "error: one has addresses of a node, of pods or of cluster IPs; warning: there is none, \
         or two overlap",
        "Such an address would be taken from a node or a pod, or never reach a wire.",
        "change `spec.addresses`, or write `spec.exclusions`",
    }
    Cluster VIPS "vips" {
        "VirtualIPs: whether each is published, and served by a speaker",
        "warning: one is not",
        "An address that is not published stands in no status; one that nobody serves does not answer.",
        "`vipgate why VIP --kubeconfig FILE` says which node has it, and why not the others",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn table(scope: Scope) -> String {
        let mut rows = "| check | looks at | wrong | why it matters | what to write \
         |\n|---|---|---|---|---|\n"
            .to_owned();
        for entry in ENTRIES.iter().filter(|entry| entry.scope == scope) {
            let Entry { id, looks_at, wrong, why, mend, .. } = entry;
            writeln!(rows, "| `{id}` | {looks_at} | {wrong} | {why} | {mend} |").unwrap();
        }
        rows
    }

    /// `BLESS=1` rewrites the two tables, and nothing else of the page.
    #[test]
    fn the_page_has_every_check() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/check.md");
        let there = std::fs::read_to_string(file).unwrap();
        let mut page = there.clone();
        for (scope, name) in [(Scope::Node, "node"), (Scope::Cluster, "cluster")] {
            let (begin, end) =
                (format!("<!-- checks of a {name} -->\n"), format!("<!-- end of {name} -->"));
            let from = page.find(&begin).expect("the page marks the table") + begin.len();
            let to = page.find(&end).expect("and its end");
            page.replace_range(from..to, &format!("\n{}\n", table(scope)));
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(file, &page).unwrap();
        }
        let fresh = std::fs::read_to_string(file).unwrap() == page;
        assert!(
            fresh,
            "docs/check.md is stale: BLESS=1 cargo test -p vipgate-cli --bins catalogue"
        );
    }

    #[test]
    fn names_are_stable_words_and_texts_fit_into_a_table() {
        let mut ids: Vec<&str> = ENTRIES.iter().map(|entry| entry.id).collect();
        for entry in ENTRIES {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(entry.id.chars().all(plain), "{}", entry.id);
            assert!(entry.why.ends_with('.'), "{}: {}", entry.id, entry.why);
            for text in [entry.looks_at, entry.wrong, entry.why, entry.mend] {
                assert!(!text.contains('|') && text.len() > 10, "{}: {text}", entry.id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ENTRIES.len());
    }
}
