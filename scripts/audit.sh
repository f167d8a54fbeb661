#!/usr/bin/env bash
# Checks the dependency tree against deny.toml. Advisories need their database from the network:
# not reaching it is reported and passes, an advisory that applies does not.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo-deny >/dev/null; then
    echo 'audit: installing cargo-deny (compiles for some minutes)' >&2
    cargo install --locked cargo-deny
fi
cargo deny --all-features check --hide-inclusion-graph bans licenses sources

if cargo deny fetch db; then
    cargo deny --all-features check --disable-fetch advisories
else
    echo 'audit: the advisory database is not reachable; advisories were NOT checked' >&2
fi
