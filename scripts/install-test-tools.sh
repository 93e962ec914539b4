#!/usr/bin/env bash
# Installs what `make test` needs beside Rust and Node: browsers, judges of recordings, aiortc.
# With root on Debian or Ubuntu it uses apt-get; otherwise it prints the list.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(build-essential pkg-config git ffmpeg mediaconch mkvtoolnix chromium firefox-esr
    iproute2 util-linux python3 python3-venv fonts-noto-cjk fonts-dejavu-core)

absent=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || absent+=("$package")
done
if [ ${#absent[@]} -gt 0 ]; then
    echo "== packages: ${absent[*]}"
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${absent[@]}" >/dev/null
    else
        echo "Install these with your package manager (as root: apt-get install ${absent[*]}), then run this again." >&2
        exit 1
    fi
fi

venv=tests/interop/.venv
if [ ! -x "$venv/bin/python" ] || [ tests/interop/requirements.txt -nt "$venv/done" ]; then
    echo "== aiortc into $venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
    touch "$venv/done"
fi
echo "test tools: all here"
