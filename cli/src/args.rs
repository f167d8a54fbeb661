//! The command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use vipgate_api::vipgate::{AddressRange, IpAddressPoolSpec};
use vipgate_controller::classless::Setting;
use vipgate_controller::companion::Companion;
use vipgate_speaker::access_log::{AccessLog, Destination, Format};
use vipgate_speaker::reach::Asking;

use crate::metrics::Place;
use crate::run::group::PORT;
use crate::why::Subject;

/// Gives Gateways an address that works: allocates virtual IPs, announces them, and
/// forwards TCP and UDP by routes. Gives addresses to Services of type LoadBalancer, too.
#[derive(Debug, Parser)]
#[command(name = "vipgate", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program calls itself as a plugin of kubectl, which finds `kubectl-vipgate` on the PATH.
const PLUGIN: (&str, &str) = ("kubectl-vipgate", "kubectl vipgate");

impl Args {
    /// The arguments of this process; where they are wrong, it ends with what to write.
    pub(crate) fn of_process() -> Self {
        Self::read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.collect();
        let mut command = <Self as CommandFactory>::command();
        if arguments.first().is_some_and(|program| is_plugin(program)) {
            command = command.bin_name(PLUGIN.1);
        }
        let mut matches = command.try_get_matches_from(arguments)?;
        Self::from_arg_matches_mut(&mut matches)
    }
}

/// Whether this process was called as a plugin of kubectl: `kubectl vipgate …`.
pub(crate) fn is_kubectl_plugin() -> bool {
    std::env::args_os().next().is_some_and(|program| is_plugin(&program))
}

fn is_plugin(program: &OsStr) -> bool {
    Path::new(program).file_stem().is_some_and(|name| name == PLUGIN.0)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a directory of manifests on this host, without a cluster.
    Run(RunArgs),
    /// In a cluster: give out addresses, and write what is so into statuses.
    Controller(ControllerArgs),
    /// In a cluster: announce addresses from this node, and forward.
    Speaker(SpeakerArgs),
    /// Print the CustomResourceDefinitions of vipgate, as YAML.
    Crds,
    /// Show what a running vipgate serves and what is wrong; exit code 1 if anything is.
    Status(StatusArgs),
    /// Check a directory of manifests without serving it; exit code 1 on errors.
    Lint(LintArgs),
    /// See whether this host, or a cluster, is as vipgate needs it, and what to mend; exit code 1 on errors.
    Check(CheckArgs),
    /// Write all that whoever helps needs to know into one archive, without secrets.
    Sysdump(SysdumpArgs),
    /// Print a new key for a group of hosts, for `vipgate run --group-key`.
    Keygen,
    /// Take away what a vipgate that crashed left on this host: VIPs on lo, and nftables tables.
    Cleanup,
    /// Say why something does not work: the chain from a VIP, Gateway, Service or route down to the wire and the
    /// endpoints, its first broken link, and what mends it; exit code 1 if one is broken.
    Why(WhyArgs),
    /// Show the BGP sessions with routers: how each stands, and why the last one ended.
    Bgp(BgpArgs),
    /// Spread VIPs over the nodes again, one by one, after nodes were restarted one after the other.
    Rebalance(RebalanceArgs),
    /// In a cluster: see whether the installation works, by a Gateway or Service of its own; what `helm test`
    /// runs.
    Selftest(SelftestArgs),
    /// Show vipgate at work: a client, a node and servers in network namespaces of their own.
    Demo(DemoArgs),
    /// Print what a shell needs to complete commands and options.
    Completions(CompletionsArgs),
}

/// `vipgate completions`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// Which shell; `source <(vipgate completions bash)` completes until that one ends.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `vipgate run`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Directory of manifests; every *.yaml and *.yml below it is read and watched.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// File that remembers which Gateway has which address [default: /var/lib/vipgate/state.json
    /// for root, else ~/.local/state/vipgate/state.json].
    #[arg(long, value_name = "FILE", env = "VIPGATE_STATE")]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) asking: AskingArgs,
    #[command(flatten)]
    pub(crate) access_log: AccessLogArgs,
    /// Name of this host in status and logs [default: the host name].
    #[arg(long, value_name = "NAME", env = "VIPGATE_NODE")]
    pub(crate) node: Option<String>,
    /// Label of this host, for the nodeSelectors of advertisements and BGPPeers; may be repeated.
    #[arg(long = "label", value_name = "K=V", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) names: NamesArgs,
    /// Forwarding threads [default: one per CPU].
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// How often VIPs are announced again, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_announce_interval)]
    pub(crate) announce_interval: Duration,
    /// After SIGTERM, how long connections may go on before they are reset, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub(crate) drain_timeout: Duration,
    // Last: what comes after it would stand under its heading.
    #[command(flatten)]
    pub(crate) group: GroupArgs,
}

/// The hosts that share the VIPs.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Several hosts with the same manifests")]
pub(crate) struct GroupArgs {
    /// Another host of the group; may be repeated. All hosts can be given the same list: each finds
    /// itself in it. The port is 7947 (UDP) unless said.
    #[arg(long = "peer", value_name = "IP[:PORT]", value_parser = parse_member, requires = "group_key")]
    pub(crate) peers: Vec<SocketAddr>,
    /// File with the key of the group, the same on every host (`vipgate keygen`), mode 0600. Without
    /// --peer the hosts of one network find each other by multicast.
    #[arg(long, value_name = "FILE", env = "VIPGATE_GROUP_KEY")]
    pub(crate) group_key: Option<PathBuf>,
    /// Where the others reach this host [default: the peer that is this host, else the address by
    /// which it reaches the first; without --peer, the address of the default route].
    #[arg(long, value_name = "IP[:PORT]", value_parser = parse_member, requires = "group_key")]
    pub(crate) group_address: Option<SocketAddr>,
    /// Name of the group; hosts of another one with the same key are strangers.
    #[arg(long, value_name = "NAME", default_value = "vipgate", requires = "group_key")]
    pub(crate) group_name: String,
    /// When the process dies, how soon a supervisor starts it again: the other hosts wait that long
    /// before they take its VIPs, in seconds [default: 0.5 as a service of systemd, else they take
    /// them at once].
    #[arg(long, value_name = "SECONDS", value_parser = parse_restart, requires = "group_key")]
    pub(crate) restart_within: Option<Duration>,
    /// Spread VIPs over the hosts again when one has joined and the group has been quiet for a minute,
    /// as `vipgate rebalance` does. Say it on every host.
    #[arg(long = "auto-rebalance", requires = "group_key")]
    pub(crate) rebalance: bool,
}

/// Where the API server is.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ClusterArgs {
    /// How to reach the API server [default: as the ServiceAccount of the pod around].
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Namespace that vipgate is installed in.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "vipgate-system")]
    pub(crate) namespace: String,
}

/// `vipgate controller`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ControllerArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Name of this replica [default: the host name, which is the pod's].
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// What shows a Gateway to those who look at Services, with the labels and annotations of its
    /// spec.infrastructure.
    #[arg(long, value_enum, default_value_t = CompanionArg::Service, env = "VIPGATE_COMPANION")]
    pub(crate) companion: CompanionArg,
    /// What becomes of Services of type LoadBalancer without loadBalancerClass.
    #[arg(long, value_enum, default_value_t = ClasslessArg::Auto, env = "VIPGATE_CLASSLESS")]
    pub(crate) classless: ClasslessArg,
    /// GatewayClass that is made when the cluster has none of this name, once it serves GatewayClasses.
    #[arg(long, value_name = "NAME", env = "VIPGATE_GATEWAY_CLASS")]
    pub(crate) gateway_class: Option<String>,
    /// IPAddressPools that are kept in the install namespace: the `spec` of each by its name, as JSON. One
    /// that is not here any more is deleted, those that people made are left alone.
    #[arg(long, value_name = "JSON", env = "VIPGATE_POOLS", default_value = "{}", value_parser = parse_pools)]
    pub(crate) pools: Pools,
    /// Where `/metrics`, `/healthz` and `/readyz` answer; `off` for nowhere.
    #[arg(long, value_name = "IP:PORT", env = "VIPGATE_METRICS", default_value_t = Place::OF_CONTROLLER)]
    pub(crate) metrics: Place,
}

/// `--pools` of `vipgate controller`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pools(pub(crate) BTreeMap<String, IpAddressPoolSpec>);

/// `--classless` of `vipgate controller`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClasslessArg {
    /// They get addresses of vipgate, unless another LoadBalancer controller shows itself.
    Auto,
    /// They get addresses of vipgate.
    Take,
    /// They are left alone.
    Leave,
}

impl From<ClasslessArg> for Setting {
    fn from(arg: ClasslessArg) -> Self {
        match arg {
            ClasslessArg::Auto => Self::Auto,
            ClasslessArg::Take => Self::Take,
            ClasslessArg::Leave => Self::Leave,
        }
    }
}

/// `--companion` of `vipgate controller`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompanionArg {
    /// A Service of type LoadBalancer, with the Gateway's addresses in its status.
    Service,
    /// A ServiceAccount: labels and annotations only.
    ServiceAccount,
    /// Nothing.
    None,
}

impl From<CompanionArg> for Companion {
    fn from(arg: CompanionArg) -> Self {
        match arg {
            CompanionArg::Service => Self::Service,
            CompanionArg::ServiceAccount => Self::ServiceAccount,
            CompanionArg::None => Self::None,
        }
    }
}

/// `vipgate speaker`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct SpeakerArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Name of the Node that this runs on.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub(crate) node: String,
    /// Where the speakers of other nodes reach this one, by UDP [default port: 7947].
    #[arg(long, value_name = "IP[:PORT]", env = "VIPGATE_GROUP_ADDRESS", value_parser = parse_member)]
    pub(crate) group_address: SocketAddr,
    /// File that remembers which VIPs this node has, for a quick restart to move nothing.
    #[arg(
        long,
        value_name = "FILE",
        env = "VIPGATE_STATE",
        default_value = "/run/vipgate/state.json"
    )]
    pub(crate) state: PathBuf,
    /// Spread VIPs over the nodes again when a speaker has joined and the group has been quiet for a
    /// minute, as `vipgate rebalance` does.
    #[arg(long = "auto-rebalance")]
    pub(crate) rebalance: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) asking: AskingArgs,
    #[command(flatten)]
    pub(crate) access_log: AccessLogArgs,
    #[command(flatten)]
    pub(crate) names: NamesArgs,
    /// Forwarding threads [default: one per CPU].
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// How often VIPs are announced again, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_announce_interval)]
    pub(crate) announce_interval: Duration,
    /// After SIGTERM, how long connections may go on before they are reset, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub(crate) drain_timeout: Duration,
}

/// Where the running process is asked.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct AdminArgs {
    /// Unix socket of the running process [default: /run/vipgate/admin.sock for root, else
    /// $XDG_RUNTIME_DIR/vipgate/admin.sock].
    #[arg(long = "admin", value_name = "SOCKET", env = "VIPGATE_ADMIN")]
    pub(crate) socket: Option<PathBuf>,
}

/// Where counters can be read.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct MetricsArgs {
    /// Where `/metrics` answers, in the text format of Prometheus, and `/healthz` and `/readyz`; `off` for
    /// nowhere.
    #[arg(long = "metrics", value_name = "IP:PORT", env = "VIPGATE_METRICS", default_value_t = Place::DEFAULT)]
    pub(crate) place: Place,
}

/// Whether VIPs of other nodes are asked for.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct AskingArgs {
    /// How often each VIP that another node announces on the LAN is asked for from here, in seconds, if this
    /// node is the one to do that: whether its owner answers for it, and its TCP ports; `off` for never.
    #[arg(long = "probe", value_name = "SECONDS", env = "VIPGATE_PROBE", default_value = "10", value_parser = parse_asking)]
    pub(crate) every: Asking,
}

/// Where ended connections are logged, for the listeners whose policy asks for it.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct AccessLogArgs {
    /// File to which the access logs of listeners are added; `-` for standard output.
    #[arg(
        long = "access-log",
        value_name = "FILE",
        env = "VIPGATE_ACCESS_LOG",
        default_value = "-"
    )]
    pub(crate) to: PathBuf,
    /// How a line of it looks.
    #[arg(
        long = "access-log-format",
        value_enum,
        env = "VIPGATE_ACCESS_LOG_FORMAT",
        default_value_t = LogFormat::Json
    )]
    pub(crate) format: LogFormat,
}

/// `--access-log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// An object of JSON.
    Json,
    /// `key=value`, quoted where it has to be.
    Text,
}

impl From<&AccessLogArgs> for AccessLog {
    fn from(args: &AccessLogArgs) -> Self {
        Self {
            to: match args.to.as_os_str() == "-" {
                true => Destination::Stdout,
                false => Destination::File(args.to.clone()),
            },
            format: match args.format {
                LogFormat::Json => Format::Json,
                LogFormat::Text => Format::Text,
            },
        }
    }
}

/// Who is asked for DNS names of Backends.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct NamesArgs {
    /// DNS server that is asked for the names of Backends; the port is 53 unless said [default: those of
    /// /etc/resolv.conf].
    #[arg(long, value_name = "IP[:PORT]", env = "VIPGATE_RESOLVER", value_parser = parse_resolver)]
    pub(crate) resolver: Option<SocketAddr>,
}

/// `vipgate status`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// `tree` for people, `json` for programs; `yaml` prints the objects as a cluster would carry them.
    #[arg(short, long, value_enum, default_value_t = Output::Tree)]
    pub(crate) output: Output,
}

/// Whom to ask: the process on this host, or an API server.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// Ask a cluster, as this file says, unless --admin is given [default: the process on this host, and
    /// ~/.kube/config where none answers].
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// `vipgate why`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WhyArgs {
    /// A VIP, `gateway/[NAMESPACE/]NAME`, `service/…`, `tcproute/…`, `tlsroute/…`, `udproute/…` or `httproute/…`; `:PORT` behind
    /// it narrows it.
    #[arg(value_name = "WHAT")]
    pub(crate) subject: Subject,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Namespace that vipgate is installed in.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "vipgate-system")]
    pub(crate) namespace: String,
    /// `text` for people, `json` for programs.
    #[arg(short, long, value_enum, default_value_t = TextOutput::Text)]
    pub(crate) output: TextOutput,
}

/// `vipgate bgp`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct BgpArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// `text` for people, `json` for programs.
    #[arg(short, long, value_enum, default_value_t = TextOutput::Text)]
    pub(crate) output: TextOutput,
}

/// `-o` of most commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOutput {
    /// Lines.
    Text,
    /// JSON.
    Json,
}

/// `vipgate rebalance`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RebalanceArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// `-o` of `vipgate status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// VIPs, listeners, routes and backends; problems first.
    Tree,
    /// The objects with their status, one document each.
    Yaml,
    /// What the tree is drawn from, in the form of docs/status.schema.json.
    #[value(alias = "report")]
    Json,
}

/// `vipgate lint`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct LintArgs {
    /// Directory of manifests.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// `text` for people, `json` for programs.
    #[arg(short, long, value_enum, default_value_t = TextOutput::Text)]
    pub(crate) output: TextOutput,
}

/// `vipgate check`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) about: AboutArgs,
    /// Range of addresses of a pool, such as 192.0.2.240-192.0.2.250; may be repeated.
    #[arg(long, value_name = "RANGE")]
    pub(crate) addresses: Vec<AddressRange>,
    /// Ask the network of this host who has the addresses of the pools, by ARP and NDP probes: 48 packets a
    /// second.
    #[arg(long)]
    pub(crate) probe: bool,
    /// How many addresses are asked for at most.
    #[arg(long, value_name = "N", default_value = "256", value_parser = parse_probe_limit)]
    pub(crate) probe_limit: usize,
    /// `text` for people, `json` for programs.
    #[arg(short, long, value_enum, default_value_t = TextOutput::Text)]
    pub(crate) output: TextOutput,
}

/// What `vipgate check` and `vipgate sysdump` look at.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct AboutArgs {
    /// Look at this host, also where a cluster is looked at. Without a cluster it is what is looked at anyway.
    #[arg(long)]
    pub(crate) node: bool,
    /// Look at the cluster of this file.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Namespace that vipgate is installed in.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "vipgate-system")]
    pub(crate) namespace: String,
    /// Directory of manifests that say what is wanted of this host.
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

impl AboutArgs {
    /// The cluster that is meant, if one is: as a plugin of kubectl that of its own file, unless `--node` is
    /// said.
    pub(crate) fn cluster(&self) -> Option<PathBuf> {
        let home = || {
            let home = std::env::home_dir()?.join(".kube/config");
            (is_kubectl_plugin() && !self.node).then_some(home)
        };
        self.kubeconfig.clone().or_else(home)
    }

    /// Whether this host is meant.
    pub(crate) fn is_about_node(&self) -> bool {
        self.node || self.cluster().is_none()
    }
}

/// `vipgate sysdump`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct SysdumpArgs {
    #[command(flatten)]
    pub(crate) about: AboutArgs,
    /// The archive, which must not be there yet; `-` for standard output [default:
    /// vipgate-sysdump-TIME.tar.gz].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// How much is collected at most, in MiB, before it is packed.
    #[arg(long, value_name = "MIB", default_value = "64", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) limit: u64,
    /// Where the metrics of this host are told; `off` to leave them out.
    #[arg(long, value_name = "IP:PORT", env = "VIPGATE_METRICS", default_value_t = Place::DEFAULT)]
    pub(crate) metrics: Place,
}

/// `vipgate selftest`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct SelftestArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Class of the Gateway that is tried; a Service is tried where there is none.
    #[arg(long, value_name = "NAME")]
    pub(crate) gateway_class: Option<String>,
    /// How long all of it may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub(crate) within: Duration,
}

/// `vipgate demo`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// Directory of the examples; each directory in it is one.
    #[arg(long, value_name = "DIR", default_value = "docs/examples")]
    pub(crate) examples: PathBuf,
    /// Only these examples, by name; may be repeated [default: all].
    #[arg(value_name = "EXAMPLE")]
    pub(crate) only: Vec<String>,
}

fn parse_pools(text: &str) -> Result<Pools, String> {
    serde_json::from_str(text).map(Pools).map_err(|error| {
        format!(
            "write the spec of each pool by its name, such as \
             {{\"default\":{{\"addresses\":[\"192.0.2.240-192.0.2.250\"]}}}}: {error}"
        )
    })
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE, for example rack=a1".to_owned()),
    }
}

fn parse_member(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>();
    let member = with_port.or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, PORT)));
    match member {
        Ok(member) if member.port() != 0 && !member.ip().is_unspecified() => Ok(member),
        _ => Err("write an IP address, with a port if it is not 7947: 192.0.2.11 or \
                  192.0.2.11:7000 or [2001:db8::11]:7000"
            .to_owned()),
    }
}

fn parse_resolver(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>();
    let server = with_port.or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)));
    match server {
        Ok(server) if server.port() != 0 && !server.ip().is_unspecified() => Ok(server),
        _ => {
            Err("write the IP address of a DNS server, with a port if it is not 53: 192.0.2.53 or \
                  127.0.0.1:5353 or [2001:db8::53]:5353"
                .to_owned())
        }
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write a number of seconds from 0 to 86400".to_owned()),
    }
}

fn parse_probe_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=4096) => Ok(limit),
        _ => Err("write a number from 1 to 4096".to_owned()),
    }
}

fn parse_asking(text: &str) -> Result<Asking, String> {
    if text == "off" {
        return Ok(Asking::Off);
    }
    let every = parse_seconds(text).ok().filter(|every| *every >= Duration::from_secs(1));
    every
        .map(Asking::Every)
        .ok_or_else(|| "write a number of seconds from 1 to 86400, or off".to_owned())
}

fn parse_restart(text: &str) -> Result<Duration, String> {
    parse_seconds(text)
        .ok()
        .filter(|within| within.as_secs_f64() <= 5.0)
        .ok_or_else(|| "write a number of seconds from 0 to 5".to_owned())
}

fn parse_announce_interval(text: &str) -> Result<Duration, String> {
    parse_seconds(text)
        .ok()
        .filter(|interval| *interval >= Duration::from_secs(1))
        .ok_or_else(|| "write a number of seconds from 1 to 86400".to_owned())
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
