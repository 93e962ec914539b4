#!/usr/bin/env bash
# Keeps the packages and the built pages up to date, and does nothing when they are.
#   scripts/web.sh packages DIR   npm ci in DIR if its lock file changed
#   scripts/web.sh build          web/dist from web/
set -euo pipefail
cd "$(dirname "$0")/.."

packages() {
    local dir=$1
    local mark="$dir/node_modules/.package-lock.json"
    if [ -e "$mark" ] && [ ! "$dir/package-lock.json" -nt "$mark" ]; then
        return
    fi
    echo "== packages of $dir (npm ci)"
    (cd "$dir" && npm ci --no-audit --no-fund --loglevel=error)
    touch "$mark"
}

build() {
    packages web
    local page=web/dist/index.html
    if [ -e "$page" ] && [ -z "$(find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -newer "$page" -print -quit)" ]; then
        return
    fi
    echo "== pages (vite build)"
    (cd web && npm run --silent build)
    # The server embeds the pages; a folder that was not there before is nothing that cargo would notice.
    touch src/http/assets.rs
}

case "${1:-}" in
    packages) packages "$2" ;;
    build) build ;;
    *) echo "usage: scripts/web.sh packages DIR | build" >&2; exit 2 ;;
esac
