#!/usr/bin/env bash
# What a newcomer waits for: from a fresh clone to the first page, and from the first page to a replayed call.
# Wanted: under ten minutes on 2 cores, and under two. Run it on a quiet machine; it cleans up behind itself.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

began=$SECONDS
git clone --quiet . "$work/reelay"
cd "$work/reelay"
scripts/needs.sh run
scripts/web.sh build
cargo build --release --locked
target/release/reelay serve --listen 127.0.0.1:0 --udp-port 0 --recordings "$work/recordings" --ready-file "$work/ready.json" &
server=$!
for _ in $(seq 100); do
    [ -s "$work/ready.json" ] && break
    sleep 0.1
done
url=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$work/ready.json")
curl --fail --silent --show-error --output /dev/null "$url/"
echo "from a fresh clone to the first page: $((SECONDS - began)) s"
kill "$server"
wait "$server" || true
server=

began=$SECONDS
scripts/web.sh packages tests/browser
REELAY_BINARY="$PWD/target/release/reelay" node tests/browser/run.mjs 4-record
echo "calls from the first page to the replay, with a restart and a self-test: $((SECONDS - began)) s"
