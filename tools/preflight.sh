#!/bin/sh
# Print the Python interpreter to build with, or say in one line what to install and exit 2.
#
#     tools/preflight.sh [PYTHON]
#
# Looked for: CPython >= 3.11 with its venv module and its C headers, and a C compiler. It installs
# nothing and changes nothing.

set -u

fail() {
    echo "preflight: $1" >&2
    exit 2
}

suits() {
    "$1" -c 'import sys
sys.exit(sys.version_info < (3, 11) or sys.implementation.name != "cpython")' >/dev/null 2>&1
}

python=${1:-}
if [ -n "$python" ]; then
    suits "$python" || fail "PYTHON=$python is not a CPython >= 3.11; name another, or install one (Debian: apt install python3; macOS: brew install python)"
else
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if suits "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "no CPython >= 3.11 found; install one (Debian: apt install python3; macOS: brew install python) or name it: make PYTHON=/path/to/python"
fi

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    fail "$python has no venv module; install it (Debian: apt install python$version-venv; macOS: brew install python@$version)"

"$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    fail "$python has no C headers (Python.h); install them (Debian: apt install python$version-dev; macOS: brew install python@$version)"

# The compiler the build will call: $CC, else the one this Python was built with.
compiler=${CC:-$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
command -v "${compiler%% *}" >/dev/null 2>&1 ||
    fail "no C compiler (${compiler%% *}); install one (Debian: apt install build-essential; macOS: xcode-select --install)"
# On macOS the command exists before the tools do.
if [ "$(uname -s)" = Darwin ] && ! xcode-select -p >/dev/null 2>&1; then
    fail "no C compiler; install one (macOS: xcode-select --install)"
fi

echo "$python"
