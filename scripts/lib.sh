# Sourced by the other scripts: finds the project and keeps its virtual environment.
#
#   . "$(dirname "$0")/lib.sh"
#   ensure_venv EXTRAS...     creates or updates .venv, sets PYTHON
#   use_compiled              has programs find the compiled form, if there is one that fits
#
# The environment is made again when setup.cfg has changed or another extra is asked for.

set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
VENV=${MQD_VENV:-$ROOT/.venv}
PYTHON=$VENV/bin/python
COMPILED=$ROOT/build/compiled
IS_COMPILED=""

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in "${PYTHON3:-}" python3 python3.13 python3.12 python3.11 python3.10; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "Python 3.10 or newer is needed; name one in the variable PYTHON3"
}

# Prints what the environment has to match: the metadata's digest and the project's place,
# and on a line of its own the extras that it has.
_stamp() {
    cat "$ROOT/setup.cfg" "$ROOT/pyproject.toml" | cksum | tr '\n' ' '
    printf '%s\n%s\n' "$ROOT" "$*"
}

_make_venv() {
    # One that was interrupted in the making has no pip, and can only be made anew.
    if [ -x "$PYTHON" ] && "$PYTHON" -m pip --version >/dev/null 2>&1; then
        return
    fi
    rm -rf "$VENV"
    "$1" -m venv "$VENV" ||
        die "no virtual environment could be made; on Debian: apt install python3-venv"
}

ensure_venv() {
    local stamp_file=$VENV/.mqd-stamp extras wanted base have=""
    if [ -f "$stamp_file" ]; then
        have=$(sed -n 2p "$stamp_file")
    fi
    # shellcheck disable=SC2086  the extras are words
    extras=$(printf '%s\n' $have "$@" | sort -u | xargs)
    wanted=$(_stamp "$extras")
    if [ -f "$stamp_file" ] && [ "$(cat "$stamp_file")" = "$wanted" ]; then
        return
    fi
    base=$(find_python)
    echo "setting up $VENV ($("$base" --version)${extras:+, with $extras}) ..." >&2
    trap 'die "interrupted; run it again to go on"' INT
    _make_venv "$base"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        --editable "$ROOT${extras:+[${extras// /,}]}" >&2 ||
        die "pip could not install the dependencies; its lines above say why"
    trap - INT
    echo "$wanted" >"$stamp_file"
}

# Prints what a compiled form has to match: the kind of Python, and a digest of all sources.
compiled_stamp() {
    "$PYTHON" -I -S -c 'import importlib.machinery as m; print(m.EXTENSION_SUFFIXES[0])'
    (
        cd "$ROOT"
        find setup.py setup.cfg mqwire mqd mqclient mqweb -type f ! -name '*.pyc' |
            LC_ALL=C sort | tr '\n' '\0' | xargs -0 cksum
    ) | cksum
}

# Tells whether there is a compiled form that was made of these sources.
compiled_fits() {
    [ -f "$COMPILED/.mqd-stamp" ] && [ "$(cat "$COMPILED/.mqd-stamp")" = "$(compiled_stamp)" ]
}

# Has programs find the compiled form from now on, and says so; MQD_PURE=1 leaves it out.
use_compiled() {
    if [ -n "${MQD_PURE:-}" ] || [ ! -d "$COMPILED" ]; then
        return
    fi
    if ! compiled_fits; then
        echo "running without the compiled form, which is of other sources; scripts/compile makes it anew" >&2
        return
    fi
    echo "running the compiled form in $COMPILED; MQD_PURE=1 leaves it out" >&2
    IS_COMPILED=1
    export PYTHONPATH=$COMPILED${PYTHONPATH:+:$PYTHONPATH}
}

# Prints what cannot be had from a package index and is missing for scripts/compile, if anything.
missing_for_compiling() {
    "$PYTHON" - <<'END'
import os, shutil, sysconfig
compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
if shutil.which(compiler) is None:
    print(f"C compiler ({compiler}; on Debian: apt install gcc)")
elif not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("Python.h, Python's headers for C (on Debian: apt install python3-dev)")
END
}
