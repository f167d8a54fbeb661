#!/usr/bin/env bash
# run.sh [SUITE] [--family v4|v6|dual] [--proxy iptables|nftables|ipvs] [--image ARCHIVE] [--keep]
#
# Makes a kind cluster with vipgate in it, a client and a router (FRR) beside it, runs scenarios on it, and takes all of it
# away again. SUITE is smoke, l2, bgp, gateway, upgrade, chaos, conformance or all (when left out: smoke). The scenarios are those
# of kind-e2e/scenarios, which the lab runs, too.
#
#   --family   what pods, Services and VIPs have (v4)
#   --proxy    the mode of kube-proxy (iptables)
#   --image    an archive that `kind load image-archive` reads; otherwise the one of `make image`, which is made where that
#              is missing and can be made
#   --keep     leaves everything there; it says how to look at it and how to remove it
#   --check    only looks whether it could run
#   --clean    only removes what an earlier run has left
#
# Results are in target/kind-e2e: JUnit (setup.xml, scenarios.xml), report.md, and when something failed, logs and what the
# client saw on the wire. Needs docker or podman, kind, kubectl, helm and Rust; works where /bin/bash is 3.2 (macOS).
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
# Where Debian has sysctl and modprobe.
PATH=$PATH:/usr/sbin:/sbin

# A path as it was meant where the user stands.
from_here() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$here/$1" ;; esac; }

# Everything that is made has a name that begins with this.
name=${VIPGATE_E2E_NAME:-vipgate-e2e}
namespace=vipgate-system
results=$(from_here "${VIPGATE_E2E_RESULTS:-$PWD/target/kind-e2e}")
client_image=${VIPGATE_E2E_CLIENT_IMAGE:-nicolaka/netshoot:v0.14}
router_image=${VIPGATE_E2E_ROUTER_IMAGE:-quay.io/frrouting/frr:10.2.1}
echo_image=${VIPGATE_E2E_ECHO_IMAGE:-registry.k8s.io/gateway-api/echo-basic:v1.6.0-dev.2}
gateway_api=${VIPGATE_E2E_GATEWAY_API:-https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.3/standard-install.yaml}
# A network that only the router leads to, one of each family (RFC 5737, RFC 3849).
routed4=198.51.100.0/24 routed4_pool=198.51.100.16-198.51.100.31
routed6=2001:db8:e2e::/64 routed6_pool=2001:db8:e2e::10-2001:db8:e2e::1f
# kind makes IPv6 networks of its own like this one: one that nobody routes (RFC 4193).
subnet6=fd77:e2e:0:1::/64 range6=fd77:e2e:0:1::/80 vips6=fd77:e2e:0:1:ffff::100-fd77:e2e:0:1:ffff::1ff
# The oldest that are known to do what is asked of them here. kind 0.29 is the first whose nodes have Kubernetes 1.33.
kind_needed=0.29.0 kubectl_needed=1.32.0 helm_needed=3.14.0 docker_needed=24.0.0 podman_needed=4.3.0
space_needed=12 # GB

say() { printf 'kind-e2e: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n '2,/^set /{ /^# \{0,1\}/{ s/^# \{0,1\}//; p; }; }' "kind-e2e/run.sh"; }

suite='' family=v4 proxy=iptables image='' keep='' only=''
while [ "$#" -gt 0 ]; do
    case $1 in
        smoke | l2 | bgp | gateway | upgrade | chaos | conformance | all)
            [ -z "$suite" ] || { usage >&2; exit 2; }
            suite=$1
            ;;
        --keep) keep=yes ;;
        --check | --clean) only=${1#--} ;;
        --family | --proxy | --image)
            [ "$#" -gt 1 ] || { say "$1 what?"; exit 2; }
            case $1 in --family) family=$2 ;; --proxy) proxy=$2 ;; --image) image=$(from_here "$2") ;; esac
            shift
            ;;
        --help | -h) usage; exit 0 ;;
        *) say "$1?"; usage >&2; exit 2 ;;
    esac
    shift
done
suite=${suite:-smoke}
case $family in v4 | v6 | dual) ;; *) say "--family $family: v4, v6 or dual"; exit 2 ;; esac
case $proxy in iptables | nftables | ipvs) ;; *) say "--proxy $proxy: iptables, nftables or ipvs"; exit 2 ;; esac

case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    arm64 | aarch64) arch=arm64 ;;
    *) arch=$(uname -m) ;;
esac
# docker where it answers; otherwise podman, if that is there.
runtime=${VIPGATE_E2E_RUNTIME:-}
if [ -z "$runtime" ]; then
    runtime=docker
    if ! docker info >/dev/null 2>&1 && command -v podman >/dev/null; then runtime=podman; fi
fi
export KIND_EXPERIMENTAL_PROVIDER=$runtime
export KIND_EXPERIMENTAL_DOCKER_NETWORK=$name KIND_EXPERIMENTAL_PODMAN_NETWORK=$name
# Of nobody else: the user's own is not written to.
export KUBECONFIG=$results/kubeconfig

# --- What is looked at before anything is made ---------------------------------------------------------------------------

# at_least NEEDED FOUND, as numbers between dots.
at_least() {
    awk -v needed="$1" -v found="$2" 'BEGIN {
        split(needed, n, "."); split(found, f, /[^0-9]+/);
        for (i = 1; i <= 3; i++) { if (f[i] + 0 > n[i] + 0) exit 0; if (f[i] + 0 < n[i] + 0) exit 1 }
    }'
}
problems=0
problem() { problems=$((problems + 1)); printf '  - %s\n' "$*" >&2; }

# tool NAME NEEDED HINT COMMAND...: the first number with dots that COMMAND prints is its version.
tool() {
    local tool=$1 needed=$2 hint=$3 found
    shift 3
    if ! command -v "$tool" >/dev/null; then problem "$tool is missing: $hint"; return; fi
    # docker tells its own version and fails, where its daemon does not answer.
    found=$("$@" 2>/dev/null || true)
    found=$(printf '%s\n' "$found" | awk 'match($0, /[0-9]+\.[0-9.]*[0-9]/) { print substr($0, RSTART, RLENGTH); exit }')
    if [ -z "$found" ]; then problem "$tool does not tell its version: $*"; return; fi
    at_least "$needed" "$found" || problem "$tool is $found, and $needed or newer is needed: $hint"
}

check_containers() {
    local needed=$docker_needed said
    [ "$runtime" = docker ] || needed=$podman_needed
    case $runtime in
        docker) tool docker "$needed" "https://docs.docker.com/engine/install" docker version --format '{{.Client.Version}}' ;;
        podman) tool podman "$needed" "https://podman.io/docs/installation" podman version --format '{{.Client.Version}}' ;;
        *) problem "VIPGATE_E2E_RUNTIME=$runtime: docker or podman"; return ;;
    esac
    command -v "$runtime" >/dev/null || return 0
    if ! said=$("$runtime" info 2>&1 >/dev/null); then
        problem "$runtime does not answer: is it started, and may you use it? $(printf '%s' "$said" | head -n 1)"
        return
    fi
    local format='{{.Architecture}}'
    [ "$runtime" = docker ] || format='{{.Host.Arch}}'
    case $("$runtime" info --format "$format" 2>/dev/null) in
        x86_64 | amd64) said=amd64 ;;
        aarch64 | arm64) said=arm64 ;;
        *) said='' ;;
    esac
    # On macOS containers run in a machine of their own.
    if [ -n "$said" ] && [ "$said" != "$arch" ]; then
        problem "$runtime runs containers for $said, and this machine is $arch: the image would not fit"
    fi
    if "$runtime" network inspect "$name" >/dev/null 2>&1; then
        problem "there is a network $name already, of an earlier run: kind-e2e/run.sh --clean removes it"
    fi
    for said in client router; do
        if "$runtime" container inspect "$name-$said" >/dev/null 2>&1; then
            problem "there is a container $name-$said already, of an earlier run: kind-e2e/run.sh --clean removes it"
        fi
    done
    if command -v kind >/dev/null && kind get clusters 2>/dev/null | grep -qx "$name"; then
        problem "there is a kind cluster $name already, of an earlier run: kind-e2e/run.sh --clean removes it"
    fi
}

check_kernel() {
    [ "$(uname -s)" = Linux ] || return 0
    if [ "$family" != v4 ] && [ "$(sysctl -n net.ipv6.conf.all.disable_ipv6 2>/dev/null || echo 1)" != 0 ]; then
        problem "this host has no IPv6 (net.ipv6.conf.all.disable_ipv6 is not 0), which --family $family needs"
    fi
    local instances
    instances=$(sysctl -n fs.inotify.max_user_instances 2>/dev/null || echo 0)
    if [ "$instances" -lt 256 ]; then
        problem "fs.inotify.max_user_instances is $instances, too few for three nodes: sudo sysctl fs.inotify.max_user_instances=512"
    fi
    if [ "$proxy" = ipvs ] && [ ! -d /sys/module/ip_vs ] && ! modprobe --dry-run --quiet ip_vs 2>/dev/null; then
        problem "this kernel has no module ip_vs, which --proxy ipvs needs"
    fi
    if [ "$proxy" = nftables ] && ! at_least 5.13 "$(uname -r)"; then
        problem "this kernel is $(uname -r), and --proxy nftables needs 5.13 or newer"
    fi
}

archive() {
    if [ -n "$image" ]; then printf '%s' "$image"; else printf '%s' "$PWD/target/image/vipgate-$arch.docker.tar"; fi
}

check_image() {
    case $arch in
        amd64 | arm64) ;;
        *) problem "there is no image for $arch: amd64 or arm64"; return ;;
    esac
    [ ! -e "$(archive)" ] || return 0
    if [ -n "$image" ]; then
        problem "there is no archive $image"
    elif [ "$(uname -s)" != Linux ] || ! command -v buildah >/dev/null; then
        problem "there is no image: --image ARCHIVE, as \`make image\` makes it on Linux with buildah (docs/image.md)"
    fi
}

preflight() {
    say "looking whether this machine can run it"
    check_containers
    tool kind "$kind_needed" "https://kind.sigs.k8s.io" kind --version
    tool kubectl "$kubectl_needed" "https://kubernetes.io/docs/tasks/tools" kubectl version --client
    tool helm "$helm_needed" "https://helm.sh/docs/intro/install" helm version --short
    if [ -z "${VIPGATE_E2E_SCENARIOS:-}" ] && ! command -v cargo >/dev/null; then
        problem "there is no Rust toolchain to build the scenarios: https://rustup.rs"
    fi
    case $suite in
        conformance | all) command -v go >/dev/null || problem "go is missing, which builds the conformance suite: https://go.dev/dl" ;;
    esac
    local space
    mkdir -p "$results"
    space=$(df -Pk "$results" | awk 'NR == 2 { print int($4 / 1000000) }')
    if [ "${space:-0}" -lt "$space_needed" ]; then problem "there are $space GB of space in $results, and $space_needed are needed"; fi
    check_kernel
    check_image
    [ "$problems" -eq 0 ] || die "$problems problem(s); nothing was made"
}

# --- The report of what is done before scenarios can run -----------------------------------------------------------------

steps='' failed_step='' started=$(date +%s)

escaped() { tr -d '\000-\010\013\014\016-\037' | sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g'; }

# step NAME COMMAND...: runs it, keeps what it says in a log and, where it fails, in the report; then ends the run.
# `|| status=$?` would switch `set -e` off within functions, so each step is a subshell with a `set -e` of its own.
step() {
    local step=$1 began status log
    shift
    say "$step"
    began=$(date +%s) log=$results/logs/setup.log
    mkdir -p "$results/logs"
    printf '\n== %s: %s\n' "$step" "$*" >>"$log"
    set +e
    (set -e; "$@") >"$results/logs/step.log" 2>&1
    status=$?
    set -e
    cat "$results/logs/step.log" >>"$log"
    steps="$steps    <testcase classname=\"setup\" name=\"$(printf '%s' "$step" | escaped)\" time=\"$(($(date +%s) - began))\""
    if [ "$status" -eq 0 ]; then
        steps="$steps/>
"
        return 0
    fi
    failed_step=$step
    steps="$steps>
      <failure message=\"status $status\">$(tail -n 40 "$results/logs/step.log" | escaped)</failure>
    </testcase>
"
    tail -n 20 "$results/logs/step.log" >&2
    die "failed: $step"
}

write_setup() {
    local failures=0
    [ -z "$failed_step" ] || failures=1
    {
        printf '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
        printf '  <testsuite name="setup" tests="%s" failures="%s" time="%s">\n' \
            "$(printf '%s' "$steps" | grep -c '<testcase' || true)" "$failures" "$(($(date +%s) - started))"
        printf '%s  </testsuite>\n</testsuites>\n' "$steps"
    } >"$results/setup.xml"
    {
        if [ -e "$results/scenarios.md" ]; then cat "$results/scenarios.md"; else printf '# %s\n' "$title"; fi
        if [ -n "$failed_step" ]; then
            fence='~~~~'
            printf '\n## Not set up: %s\n\n%s\n%s\n%s\n' "$failed_step" "$fence" "$(tail -n 40 "$results/logs/step.log")" "$fence"
        fi
    } >"$results/report.md"
}

# --- What is made ----------------------------------------------------------------------------------------------------------

# Of dotted numbers and back.
number() { printf '%s\n' "$1" | awk -F . '{ printf "%.0f\n", (($1 * 256 + $2) * 256 + $3) * 256 + $4 }'; }
dotted() { awk -v n="$1" 'BEGIN { printf "%d.%d.%d.%d\n", int(n / 16777216), int(n / 65536) % 256, int(n / 256) % 256, n % 256 }'; }

# One a line. From the JSON, which both have: podman's templates print an address and a mask here.
subnets_of() { "$runtime" network inspect "$name" | sed -n 's/.*"[Ss]ubnet": *"\([^"]*\)".*/\1/p'; }

# The subnet is one that the runtime finds free: it is asked for a network, and that is made anew with the same subnet, of
# which the runtime then gives out the lower half. VIPs are of the upper one, so nobody has to keep a list.
make_network() {
    local subnet base bits size count
    "$runtime" network create "$name"
    subnet=$(subnets_of | grep -F . | grep -vF : | head -n 1)
    "$runtime" network rm "$name"
    case $subnet in */*) ;; *) echo "$runtime gave no subnet: $subnet"; return 1 ;; esac
    base=$(number "${subnet%/*}") bits=${subnet#*/}
    if [ "$bits" -gt 26 ]; then echo "$subnet is too small for nodes and VIPs: at least a /26"; return 1; fi
    size=$((1 << (32 - bits)))
    printf '%s\n' "$subnet" >"$results/subnet"
    # Away from the end, where the broadcast address is. The conformance suite has dozens of Gateways at once.
    count=$((size / 2 - 16))
    if [ "$count" -gt 64 ]; then count=64; fi
    printf '%s-%s\n' "$(dotted $((base + size / 2 + 8)))" "$(dotted $((base + size / 2 + 7 + count)))" >"$results/vips4"
    set -- --subnet "$subnet" --ip-range "${subnet%/*}/$((bits + 1))"
    if [ "$family" != v4 ]; then set -- "$@" --ipv6 --subnet "$subnet6" --ip-range "$range6"; fi
    "$runtime" network create "$@" "$name"
}

make_cluster() {
    local ip_family=ipv4
    case $family in v6) ip_family=ipv6 ;; dual) ip_family=dual ;; esac
    {
        cat <<END
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {ipFamily: $ip_family, kubeProxyMode: $proxy}
END
        # As docs/services.md asks for: otherwise every node answers for the addresses of Services.
        if [ "$proxy" = ipvs ]; then
            cat <<END
kubeadmConfigPatches:
- |
  kind: KubeProxyConfiguration
  apiVersion: kubeproxy.config.k8s.io/v1alpha1
  ipvs: {strictARP: true}
END
        fi
        cat <<END
nodes:
- role: control-plane
- role: worker
  labels: {vipgate.dev/e2e: edge}
- role: worker
  labels: {vipgate.dev/e2e: edge}
END
    } >"$results/cluster.yaml"
    set -- --name "$name" --config "$results/cluster.yaml" --kubeconfig "$KUBECONFIG" --wait 300s
    if [ -n "${VIPGATE_E2E_NODE_IMAGE:-}" ]; then set -- "$@" --image "$VIPGATE_E2E_NODE_IMAGE"; fi
    kind create cluster "$@"
}

make_image() { [ -e "$(archive)" ] || scripts/image.sh build; }

load_image() { kind load image-archive "$(archive)" --name "$name"; }

# A list of YAML, quoted: IPv6 addresses have colons, which YAML has another use for.
list() { printf '"%s", ' "$@" | sed -e 's/^/[/' -e 's/, $/]/'; }

install_chart() {
    local vips=() routed=()
    if [ "$family" != v6 ]; then vips=("$(cat "$results/vips4")") routed=("$routed4_pool"); fi
    if [ "$family" != v4 ]; then vips+=("$vips6") routed+=("$routed6_pool"); fi
    cat >"$results/values.yaml" <<END
image: {repository: vipgate, pullPolicy: Never}
pools:
  default: {addresses: $(list "${vips[@]}")}
  routed: {addresses: $(list "${routed[@]}"), autoAssign: false}
END
    kubectl apply --server-side --filename "$gateway_api"
    helm install vipgate charts/vipgate --namespace "$namespace" --create-namespace --values "$results/values.yaml" --wait --timeout 5m
    kubectl wait --for=create ipaddresspool/default ipaddresspool/routed --namespace "$namespace" --timeout=60s
}

# Addresses of a container on the network of the run.
addresses_of() {
    "$runtime" container inspect --format '{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{println .GlobalIPv6Address}}{{end}}' "$1" |
        grep -E '[.:]' | grep -v invalid
}

make_router() {
    local subnet
    subnet=$(cat "$results/subnet")
    mkdir -p "$results/frr"
    cat >"$results/frr/daemons" <<END
bgpd=yes
vtysh_enable=yes
zebra_options="  -A 127.0.0.1 -s 90000000"
bgpd_options="   -A 127.0.0.1"
END
    # Whoever is on this network and is AS 65001 may speak with it: nodes come back with other addresses.
    cat >"$results/frr/frr.conf" <<END
hostname router
log stdout informational
router bgp 65002
 bgp router-id 10.9.0.1
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 neighbor nodes peer-group
 neighbor nodes remote-as 65001
 neighbor nodes timers 3 9
 bgp listen limit 64
 bgp listen range $subnet peer-group nodes
END
    if [ "$family" != v4 ]; then printf ' bgp listen range %s peer-group nodes\n' "$subnet6" >>"$results/frr/frr.conf"; fi
    cat >>"$results/frr/frr.conf" <<END
 address-family ipv4 unicast
  maximum-paths 16
  neighbor nodes activate
 exit-address-family
 address-family ipv6 unicast
  maximum-paths 16
  neighbor nodes activate
 exit-address-family
END
    : >"$results/frr/vtysh.conf"
    set -- --sysctl net.ipv4.ip_forward=1
    if [ "$family" != v4 ]; then set -- "$@" --sysctl net.ipv6.conf.all.forwarding=1; fi
    "$runtime" create --name "$name-router" --hostname router --network "$name" \
        --cap-add NET_ADMIN --cap-add NET_RAW --cap-add SYS_ADMIN "$@" "$router_image"
    # Copied, not mounted: what a container may see of this host differs from system to system.
    "$runtime" cp "$results/frr/." "$name-router:/etc/frr/"
    "$runtime" start "$name-router"
}

make_client() {
    "$runtime" create --name "$name-client" --hostname client --network "$name" \
        --cap-add NET_ADMIN --cap-add NET_RAW --entrypoint sleep "$client_image" infinity
    "$runtime" start "$name-client"
    local router
    for router in $(addresses_of "$name-router"); do
        case $router in
            *:*) "$runtime" exec "$name-client" ip -6 route replace "$routed6" via "$router" ;;
            *) "$runtime" exec "$name-client" ip route replace "$routed4" via "$router" ;;
        esac
    done
    # What it sees, the newest 5 MB of it; kept when something fails.
    "$runtime" exec --detach "$name-client" tcpdump -i eth0 -n -U -C 5 -W 2 -w /tmp/client.pcap
}

# The official suite runs on the client, too: from there the VIPs are reached.
give_conformance() {
    local suite="$results/conformance"
    mkdir -p "$suite"
    (cd kind-e2e/conformance && GOWORK=off GOOS=linux GOARCH=$arch CGO_ENABLED=0 go test -c -o "$suite/conformance.test" .)
    # By the node's own address.
    kind get kubeconfig --internal --name "$name" >"$suite/kubeconfig"
    "$runtime" exec "$name-client" mkdir -p /e2e
    "$runtime" cp "$suite/." "$name-client:/e2e/"
}

build_scenarios() { [ -n "${VIPGATE_E2E_SCENARIOS:-}" ] || cargo build --locked --package vipgate-scenarios; }

# An address of the pool, for the suite to ask for.
usable() { if [ "$family" = v6 ]; then printf '%s' "${vips6#*-}"; else sed 's/.*-//' "$results/vips4"; fi; }

run_scenarios() {
    local program=${VIPGATE_E2E_SCENARIOS:-target/debug/vipgate-scenarios} routers
    routers=$(addresses_of "$name-router" | tr '\n' ' ')
    # One address of each family that the cluster has.
    case $family in
        v4) routers=$(printf '%s' "$routers" | tr ' ' '\n' | grep -vF : || true) ;;
        v6) routers=$(printf '%s' "$routers" | tr ' ' '\n' | grep -F : || true) ;;
    esac
    VIPGATE_E2E_RUNTIME=$runtime VIPGATE_E2E_CLUSTER=$name VIPGATE_E2E_FAMILY=$family VIPGATE_E2E_NAMESPACE=$namespace \
        VIPGATE_E2E_ROUTERS=$routers VIPGATE_E2E_ECHO=$echo_image VIPGATE_E2E_CHART=$PWD/charts/vipgate \
        VIPGATE_E2E_USABLE=$(usable) "$program" "$suite" --title "$title" --results "$results"
}

# --- What is kept of a failure, and what is taken away -----------------------------------------------------------------------

# Nothing here may keep the rest from being removed.
collect() {
    local logs=$results/logs
    say "something failed: logs go to $logs"
    unpause
    kind export logs "$logs/kind" --name "$name" >/dev/null 2>&1 || true
    kubectl get gateways,tcproutes,tlsroutes,udproutes,services,endpointslices,nodes,pods,virtualips,speakers,ipaddresspools \
        --all-namespaces --output yaml --request-timeout=30s >"$logs/objects.yaml" 2>/dev/null || true
    kubectl get events --all-namespaces --request-timeout=30s >"$logs/events.txt" 2>/dev/null || true
    local container
    for container in controller speaker; do
        kubectl logs --namespace "$namespace" --selector "app.kubernetes.io/component=$container" --prefix --tail=-1 --request-timeout=30s \
            >"$logs/$container.log" 2>&1 || true
    done
    "$runtime" logs "$name-router" >"$logs/router.log" 2>&1 || true
    "$runtime" exec "$name-router" vtysh -c 'show bgp summary' -c 'show bgp ipv4 unicast' -c 'show bgp ipv6 unicast' \
        >"$logs/bgp.txt" 2>&1 || true
    "$runtime" exec "$name-client" sh -c 'ip address; ip route; ip -6 route; ip neigh' >"$logs/client.txt" 2>&1 || true
    "$runtime" exec "$name-client" pkill -INT tcpdump >/dev/null 2>&1 || true
    local part
    for part in 0 1; do "$runtime" cp "$name-client:/tmp/client.pcap$part" "$logs/" >/dev/null 2>&1 || true; done
}

unpause() {
    local node
    for node in control-plane worker worker2; do "$runtime" unpause "$name-$node" >/dev/null 2>&1 || true; done
}

# What is not there is no error; what stays is said.
remove() {
    # A paused node cannot be removed by every version.
    unpause
    "$runtime" rm --force --volumes "$name-client" "$name-router" >/dev/null 2>&1 || true
    kind delete cluster --name "$name" --kubeconfig "$KUBECONFIG" >/dev/null 2>&1 || true
    "$runtime" network rm "$name" >/dev/null 2>&1 || true
    rm -f "$KUBECONFIG"
    if "$runtime" network inspect "$name" >/dev/null 2>&1; then say "the network $name could not be removed"; return 1; fi
}

finish() {
    local status=$?
    trap - EXIT
    # A second Ctrl-C may not leave half of it.
    trap '' INT TERM HUP
    set +e
    if [ "$status" -ne 0 ]; then collect; fi
    write_setup
    if [ -n "$keep" ]; then
        say "kept. Look at it: export KUBECONFIG=$KUBECONFIG; $runtime exec -it $name-client bash; $runtime exec -it $name-router vtysh"
        say "remove it: VIPGATE_E2E_RUNTIME=$runtime kind-e2e/run.sh --clean"
    else
        say "removing what was made"
        remove || [ "$status" -ne 0 ] || status=1
    fi
    say "results: $results/report.md"
    exit "$status"
}

title="vipgate on kind: $suite, $family, kube-proxy with $proxy, $runtime"
case $only in
    clean) remove; exit ;;
    check) preflight; say "it can run here"; exit 0 ;;
esac
preflight
rm -rf "$results/logs" "$results/setup.xml" "$results/scenarios.xml" "$results/scenarios.md" "$results/report.md"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step "the image" make_image
step "the scenarios" build_scenarios
step "the network" make_network
step "the cluster" make_cluster
step "the image on the nodes" load_image
step "the chart" install_chart
step "the router" make_router
step "the client" make_client
case $suite in conformance | all) step "the conformance suite" give_conformance ;; esac
# Its own report tells of each.
say "scenarios: $suite"
run_scenarios
