#!/usr/bin/env bash
# install-test-tools.sh [demo|bench|image]: sees to it that the tools the tests use (or those of the demo, of
# the benchmark, or of building the image) are there. Does nothing when they are; installs what is missing on Debian and Ubuntu, with sudo
# where not root, without starting any service; names what is missing elsewhere, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# command:package, as Debian names them.
demo_tools=(ip:iproute2 ss:iproute2 unshare:util-linux setpriv:util-linux cc:gcc)
test_tools=(
    nft:nftables iptables:iptables tcpdump:tcpdump arping:arping ndisc6:ndisc6 iperf3:iperf3 ps:procps ping:iputils-ping
    mariadbd:mariadb-server mariadb-install-db:mariadb-server mariadb:mariadb-client
    redis-server:redis-server redis-cli:redis-tools redis-benchmark:redis-tools
    openssl:openssl dnsmasq:dnsmasq-base nginx:nginx promtool:prometheus shellcheck:shellcheck
    python3:python3 curl:curl hostname:hostname
    vtysh:frr bird:bird2 birdc:bird2 keepalived:keepalived
)
bench_tools=(nft:nftables haproxy:haproxy nginx:nginx iperf3:iperf3 python3:python3 pip3:python3-pip
    /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream
)
image_tools=(buildah:buildah podman:podman runc:runc musl-gcc:musl-tools readelf:binutils)
case ${1:-test} in
    demo) tools=("${demo_tools[@]}") components=() with_go='' ;;
    test) tools=("${demo_tools[@]}" "${test_tools[@]}") components=(fmt clippy) with_go=yes ;;
    bench) tools=("${demo_tools[@]}" "${bench_tools[@]}") components=() with_go='' ;;
    image) tools=("${image_tools[@]}") components=() with_go='' ;;
    *) echo "usage: $0 [demo|bench|image]" >&2; exit 2 ;;
esac
policy=/usr/sbin/policy-rc.d

say() { printf 'install-test-tools: %s\n' "$*" >&2; }

# Daemons are in sbin, which is not on the PATH of ordinary users.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

check_toolchain() {
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! command -v cargo >/dev/null; then
        say "no Rust toolchain: install stable Rust, $needed or newer (for example by rustup)"
        return 1
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
        say "Rust $found is too old, $needed or newer is needed: rustup update stable"
        return 1
    fi
    for component in "${components[@]}"; do
        if ! cargo "$component" --version >/dev/null 2>&1; then
            say "cargo $component is missing: rustup component add rustfmt clippy"
            return 1
        fi
    done
}

# What is of Kubernetes is built from Go modules. `go env` in a module of ours has an older Go fetch the
# one that go.mod asks for, since 1.21 and where it may.
check_go() {
    local needed found
    needed=$(sed -n 's/^go //p' kind-e2e/controlplane/go.mod)
    if ! command -v go >/dev/null; then
        say "no Go: install Go $needed or newer (https://go.dev/dl), or an older one, 1.21 at least, that may fetch it"
        return 1
    fi
    if ! found=$(cd kind-e2e/controlplane && GOWORK=off go env GOVERSION); then
        say "this $(cd / && go env GOVERSION) cannot fetch Go $needed: install that or newer (https://go.dev/dl), or see GOTOOLCHAIN and GOPROXY"
        return 1
    fi
    found=${found#go}
    found=${found%% *}
    if [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
        say "Go $found is too old and cannot fetch a newer one: install Go $needed or newer (https://go.dev/dl)"
        return 1
    fi
}

missing_tools() {
    local tool
    for tool in "${tools[@]}"; do
        command -v "${tool%%:*}" >/dev/null || [ -e "${tool%%:*}" ] || printf '%s\n' "$tool"
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# invoke-rc.d asks policy-rc.d whether it may start a service; 101 is no.
forbid_services() {
    if as_root test -e "$policy"; then as_root mv "$policy" "$policy.before-vipgate"; fi
    trap allow_services EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

allow_services() {
    as_root rm -f "$policy"
    if as_root test -e "$policy.before-vipgate"; then
        as_root mv "$policy.before-vipgate" "$policy"
    fi
}

install_packages() {
    if ! command -v apt-get >/dev/null; then
        say "cannot install here (no apt-get); install what provides the commands above"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        say "not root, and no sudo; as root: apt-get install --no-install-recommends $*"
        return 1
    fi
    say "installing $* (their services are not started)"
    forbid_services
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
    trap - EXIT
    allow_services
}

main() {
    check_toolchain
    [ -z "$with_go" ] || check_go
    local missing packages
    mapfile -t missing < <(missing_tools)
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "missing commands: ${missing[*]%%:*}"
    mapfile -t packages < <(printf '%s\n' "${missing[@]##*:}" | sort -u)
    install_packages "${packages[@]}"
    mapfile -t missing < <(missing_tools)
    if [ "${#missing[@]}" -gt 0 ]; then
        say "still missing after the installation: ${missing[*]%%:*}"
        return 1
    fi
}

main
