#!/usr/bin/env bash
# Says what is missing on this machine and how long each step takes, before anything starts.
#   scripts/needs.sh run|check|test
# Exit code 1 when something is missing.
set -uo pipefail
cd "$(dirname "$0")/.."

goal=${1:-run}
missing=()

need() { # COMMAND, WHAT IT IS FOR, HOW TO GET IT
    command -v "$1" >/dev/null 2>&1 || missing+=("$1: $2. $3")
}

# True if version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
need cargo "Rust $rust_wanted or newer builds the server" "https://rustup.rs"
if command -v rustc >/dev/null 2>&1; then
    have=$(rustc --version | cut -d ' ' -f 2)
    at_least "$have" "$rust_wanted" || missing+=("rustc $rust_wanted: here is $have. rustup update")
fi
need node "Node 20.19 or newer builds the pages" "https://nodejs.org or your package manager"
if command -v node >/dev/null 2>&1; then
    have=$(node --version | tr -d v)
    at_least "$have" 20.19.0 || missing+=("node 20.19: here is $have. https://nodejs.org")
fi
need npm "it fetches the packages of the pages" "it comes with Node"
need cc "a C compiler builds SQLite and ring" "apt-get install build-essential, or Xcode's command line tools"

if [ "$goal" != run ]; then
    cargo fmt --version >/dev/null 2>&1 || missing+=("rustfmt: the formatting check. rustup component add rustfmt")
    cargo clippy --version >/dev/null 2>&1 || missing+=("clippy: the lint. rustup component add clippy")
fi

if [ "$goal" = test ]; then
    tools="scripts/install-test-tools.sh"
    need ffmpeg "recordings are decoded with it" "$tools"
    need ffprobe "recordings are judged by it" "$tools"
    need mediaconch "recordings are judged by it" "$tools"
    need mkvmerge "recordings are judged by it" "$tools"
    need ip "the browser tests make a network of their own" "$tools"
    need unshare "the browser tests make a network of their own" "$tools"
    need python3 "an independent WebRTC client (aiortc) runs on it" "$tools"
    command -v chromium >/dev/null 2>&1 || [ -n "${CHROMIUM:-}" ] ||
        missing+=("chromium: one of the two browsers (or CHROMIUM=path). $tools")
    command -v firefox-esr >/dev/null 2>&1 || command -v firefox >/dev/null 2>&1 || [ -n "${FIREFOX:-}" ] ||
        missing+=("firefox-esr: one of the two browsers (or FIREFOX=path). $tools")
    [ -x tests/interop/.venv/bin/python ] ||
        missing+=("aiortc: an independent WebRTC client, in tests/interop/.venv. $tools")
    unshare -Urn true 2>/dev/null || [ "$(id -u)" = 0 ] ||
        missing+=("a network namespace: root, or user namespaces switched on")
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "Missing for 'make $goal':"
    printf '  - %s\n' "${missing[@]}"
    exit 1
fi

step() { printf '  %-34s %-16s %s\n' "$1" "$2" "$3"; }
state() { [ -e "$1" ] && echo "(here already: seconds)" || echo ""; }

echo "Everything needed is here. Steps of 'make $goal', on 2 cores:"
step "packages of the pages" "about 20 s" "$(state web/node_modules/.package-lock.json)"
step "pages" "about 5 s" "$(state web/dist/index.html)"
case "$goal" in
    run)
        step "server, release build" "about 5 min" "$(state target/release/reelay)"
        step "server starts" "at once" "stop it with Ctrl+C"
        ;;
    check) step "fmt, clippy, tsc, lint" "about 2 min" "$(state target/debug)" ;;
    test)
        step "check: fmt, clippy, tsc, lint" "about 2 min" ""
        step "Rust tests, debug build" "about 6 min" "$(state target/debug/reelay)"
        step "web tests" "about 10 s" ""
        step "interop: aiortc by WHIP and WHEP" "about 1 min" ""
        step "Chromium and Firefox" "about 8 min" "pictures go to artifacts/"
        ;;
esac
