#!/usr/bin/env bash
# What is wrong without running anything: formatting, clippy, TypeScript, web lint.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/web.sh build # The server embeds web/dist.
echo "== cargo fmt --check"
cargo fmt --all -- --check
echo "== cargo clippy"
cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
echo "== web: tsc, lint"
(cd web && npm run --silent check)
scripts/web.sh packages tests/browser
echo "== browser tests: lint"
(cd tests/browser && npm run --silent check)
echo "check: all fine"
