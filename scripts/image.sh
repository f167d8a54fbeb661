#!/usr/bin/env bash
# image.sh [build|run|sbom]...: builds the container image from nothing but this source (a static program, FROM scratch), runs
# it once as the chart does, and writes the list of what is in it. Without arguments: all three. The result is in target/image:
#   vipgate-ARCH.tar    the image, an OCI archive (buildah, podman and skopeo read it)
#   vipgate-ARCH.docker.tar    the same, as `docker save` writes it: for `kind load image-archive`, whose containerd takes
#                       the image's name from there, and for `docker load`
#   vipgate-ARCH.cdx.json    the SBOM, CycloneDX
#
# ARCH=arm64 builds for the other architecture: docs/image.md has the recipe. Needs buildah, and podman with runc to run it
# (apt-get install buildah podman runc musl-tools).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'image: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is missing: apt-get install $2"; }

case ${ARCH:-$(uname -m)} in
    amd64 | x86_64) arch=amd64 target=x86_64-unknown-linux-musl strip='strip' ;;
    arm64 | aarch64) arch=arm64 target=aarch64-unknown-linux-musl strip=aarch64-linux-gnu-strip ;;
    *) die "no recipe for ${ARCH:-$(uname -m)}: amd64 or arm64" ;;
esac
[ "$(uname -m)" != "${target%%-*}" ] || strip='strip'
out=$PWD/target/image
limit=20000000
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
archive=$out/vipgate-$arch.tar docker_archive=$out/vipgate-$arch.docker.tar
# A storage of our own: nothing else on this machine is looked at or changed.
storage=(--root "$out/storage" --runroot "$out/run" --storage-driver vfs)

build_program() {
    rustup target list --installed 2>/dev/null | grep -qx "$target" ||
        rustup target add "$target" || die "no Rust target $target, and it cannot be fetched"
    if [ "$target" = x86_64-unknown-linux-musl ]; then need musl-gcc musl-tools; fi
    local cargo=(cargo)
    if command -v cargo-auditable >/dev/null; then
        # Each crate and its version stay readable in the program: `cargo audit bin`, trivy and grype find them there.
        cargo=(cargo auditable)
    else
        say "no cargo-auditable: the program does not tell its crates (cargo install --locked cargo-auditable)"
        [ -z "${RELEASE:-}" ] || die "a release has to"
    fi
    "${cargo[@]}" build --locked --release --target "$target" --package vipgate-cli
    mkdir -p "$out/context"
    "$strip" -o "$out/context/vipgate" "target/$target/release/vipgate"
    cp LICENSE "$out/context/"
    # What has no interpreter needs nothing of the file system around it.
    if LC_ALL=C readelf --program-headers "$out/context/vipgate" | grep -q INTERP; then
        die "the program is not static"
    fi
    if [ "${#cargo[@]}" -gt 1 ] && ! readelf --sections --wide "$out/context/vipgate" | grep -q '\.dep-v0'; then
        die "the program does not tell its crates, though it was built by cargo-auditable"
    fi
}

build() {
    need buildah buildah
    build_program
    local time
    time=$(git log -1 --format=%ct 2>/dev/null || echo 0)
    buildah "${storage[@]}" bud --isolation chroot --arch "$arch" --timestamp "$time" --layers=false \
        --build-arg VERSION="$version" --build-arg REVISION="$revision" \
        --tag "vipgate:$version" --file Dockerfile "$out/context" >&2
    rm -f "$archive"
    buildah "${storage[@]}" push --quiet "vipgate:$version" "oci-archive:$archive:vipgate:$version"
    # As Kubernetes reads `vipgate:VERSION`; buildah's own name for it is localhost/vipgate.
    rm -f "$docker_archive"
    buildah "${storage[@]}" push --quiet "vipgate:$version" "docker-archive:$docker_archive:docker.io/library/vipgate:$version"
    local size
    size=$(stat --format=%s "$archive")
    say "$archive: $size bytes, compressed; the program has $(stat --format=%s "$out/context/vipgate")"
    [ "$size" -le "$limit" ] || die "that is more than $limit"
}

# As the chart runs it. Limits are the machine's: podman would raise them, which not everybody may.
container() {
    podman "${storage[@]}" --cgroup-manager cgroupfs --runtime runc run --rm --read-only --network host \
        --cap-drop ALL --security-opt no-new-privileges \
        --ulimit "nofile=$(ulimit -Hn):$(ulimit -Hn)" --ulimit nproc=4096:4096 "$@"
}

run() {
    need podman podman
    need runc runc
    [ -e "$archive" ] || die "no image: scripts/image.sh build"
    [ "$(uname -m)" = "${target%%-*}" ] || die "only the image of this machine's architecture can be run here"
    # With the controller's user, and no capability.
    local said
    said=$(container "vipgate:$version" --version)
    [ "$said" = "vipgate $version" ] || die "--version says: $said"
    say "vipgate --version: $said"

    # With the speaker's user and capabilities: an example, on addresses of loopback.
    local manifests=$out/manifests
    rm -rf "$manifests"
    cp -r docs/examples/tcp-two-services "$manifests"
    sed -i 's/10\.77\.0\.200-10\.77\.0\.250/127.77.7.200-127.77.7.250/' "$manifests/addresses.yaml"
    container --name vipgate-image-run --user 0:0 --cap-add NET_ADMIN,NET_RAW,NET_BIND_SERVICE \
        --tmpfs /run/vipgate --volume "$manifests:/manifests:ro" "vipgate:$version" \
        run /manifests --state /run/vipgate/state.json --metrics off >"$out/run.log" 2>&1 &
    local container=$! found=''
    for _ in $(seq 100); do
        found=$(podman "${storage[@]}" --runtime runc exec vipgate-image-run vipgate status 2>/dev/null || true)
        if [[ $found == *"served on loopback"* ]]; then break; fi
        kill -0 "$container" 2>/dev/null || break
        sleep 0.1
    done
    local answered=no
    if (exec 3<>/dev/tcp/127.77.7.200/8080) 2>/dev/null; then answered=yes; fi
    podman "${storage[@]}" --runtime runc stop --time 5 vipgate-image-run >/dev/null 2>&1 || true
    wait "$container" || true
    if [[ $found != *"served on loopback"* || $answered = no ]]; then
        cat "$out/run.log" >&2
        die "the example is not served: ${found:-no status}"
    fi
    say "vipgate run: $(grep -m 1 'served on loopback' <<<"$found" | sed 's/^ *//'), and 127.77.7.200:8080 answers"
}

sbom() {
    if ! cargo cyclonedx --version >/dev/null 2>&1; then
        [ -z "${RELEASE:-}" ] || die "a release has an SBOM: cargo install --locked cargo-cyclonedx"
        say "no cargo-cyclonedx, so no SBOM (cargo install --locked cargo-cyclonedx)"
        return
    fi
    mkdir -p "$out"
    # It writes beside each Cargo.toml; only that of the program is of use. With the time of the commit, the same source gives
    # the same file, and paths of this machine are nobody's business.
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0) \
        cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename vipgate-image.cdx
    sed "s|path+file://$PWD/|path+file:///vipgate/|g" cli/vipgate-image.cdx.json >"$out/vipgate-$arch.cdx.json"
    find . -path ./target -prune -o -name vipgate-image.cdx.json -exec rm {} +
    if grep -qF "$PWD" "$out/vipgate-$arch.cdx.json"; then die "the SBOM tells where it was made"; fi
    # What is in the program, by Cargo's own account, has to be in it: each crate with its version. What macros consist of is not.
    local crate version
    while read -r crate version _; do
        grep -qF "\"pkg:cargo/$crate@${version#v}" "$out/vipgate-$arch.cdx.json" || die "the SBOM lacks $crate $version"
    done < <(cargo tree --locked --package vipgate-cli --target "$target" --edges normal,no-proc-macro --prefix none | sort -u)
    say "$out/vipgate-$arch.cdx.json: $(grep -c '"purl"' "$out/vipgate-$arch.cdx.json") packages"
}

[ "$#" -gt 0 ] || set -- build run sbom
for step in "$@"; do
    case $step in
        build | run | sbom) "$step" ;;
        *) echo "usage: $0 [build|run|sbom]..." >&2; exit 2 ;;
    esac
done
