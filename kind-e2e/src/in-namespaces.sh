#!/bin/sh
# in-namespaces.sh PROGRAM [ARGUMENT…]: runs PROGRAM as root of fresh user, network and mount
# namespaces, with an empty /run/netns of its own, so that the lab works without privilege.
# For root it is no more than `exec PROGRAM`. Compiled into the lab (enter.rs), and the cargo
# runner of `make test` for ordinary users.
set -eu
[ "$(id -u)" -ne 0 ] || [ "${VIPGATE_LAB_FORCE_UNSHARE:-}" = 1 ] || exec "$@"
exec unshare --user --map-root-user --net --mount -- sh -euc '
    mount --make-rprivate /
    mount -t tmpfs tmpfs /run
    mkdir /run/netns
    ip link set lo up
    exec "$@"' in-namespaces "$@"
