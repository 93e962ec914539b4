#!/usr/bin/env bash
# Runs every suite in turn, keeps the output under artifacts/logs, and closes with one line per suite.
# A suite that fails does not stop the next one; the exit code tells.
#   scripts/test.sh                all
#   scripts/test.sh rust web       only these: check rust web interop browser
set -uo pipefail
cd "$(dirname "$0")/.."

logs=artifacts/logs
mkdir -p "$logs"
failed=0
summary=()
reasons=()

# NAME, PATTERN of the runner's closing lines, COMMAND…
suite() {
    local name=$1 pattern=$2
    shift 2
    local began=$SECONDS word=passed
    printf '\n=== %s\n' "$name"
    "$@" 2>&1 | tee "$logs/$name.log"
    if [ "${PIPESTATUS[0]}" -ne 0 ]; then
        word=FAILED
        failed=1
        # Why, in short: from where the runner lists its failures.
        reasons+=("$name failed:" "$(sed -n -e '/^failures:$/,$p' -e '/failing tests:$/,$p' "$logs/$name.log" | grep . | head -n 40)")
    fi
    summary+=("$(printf '%-8s %-6s %4d s' "$name" "$word" $((SECONDS - began)))")
    local line
    while IFS= read -r line; do
        summary+=("           $line")
    done < <(sed 's/\x1b\[[0-9;]*m//g' "$logs/$name.log" | grep -E "$pattern" | tail -n 12)
}

rust() { cargo test --workspace --locked --no-fail-fast; }
web() { cd web && npm test --silent; }
binary() { cargo build --locked --bin reelay; }
interop() { scripts/web.sh build && binary && tests/interop/run.sh; }
browser() {
    scripts/web.sh build && scripts/web.sh packages tests/browser && binary && cd tests/browser && npm test --silent
}

wanted=("$@")
[ $# -gt 0 ] || wanted=(check rust web interop browser)
for name in "${wanted[@]}"; do
    case "$name" in
        check) suite check '^check: ' scripts/check.sh ;;
        rust) suite rust '^test result: |^error(: |\[)' rust ;;
        web) suite web '^ *(Test Files|Tests) ' web ;;
        interop) suite interop '^interop: ' interop ;;
        browser) suite browser '^(# |ℹ )(tests|pass|fail|skipped) |^passed the second time|^failed twice' browser ;;
        *) echo "unknown suite '$name'" >&2; exit 2 ;;
    esac
done

[ "$failed" -eq 0 ] || printf '\n%s' "${reasons[@]}"
printf '\n=== closing lines\n'
printf '%s\n' "${summary[@]}"
[ "$failed" -eq 0 ] && echo "all passed" || echo "something failed; whole output in $logs"
exit "$failed"
