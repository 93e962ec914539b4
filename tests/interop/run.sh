#!/usr/bin/env bash
# An independent client (aiortc) publishes by WHIP and watches by WHEP against the debug build.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=tests/interop/.venv/bin/python
[ -x "$python" ] || { echo "interop: aiortc is missing; scripts/install-test-tools.sh brings it" >&2; exit 1; }
exec timeout --kill-after=5 180 "$python" tests/interop/whip_whep.py "${REELAY_BINARY:-target/debug/reelay}"
