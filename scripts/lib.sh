# Sourced by the other scripts: finds the project and keeps its virtual environment.
#
#   . "$(dirname "$0")/lib.sh"
#   ensure_venv EXTRAS...     creates or updates .venv, sets PYTHON
#
# The environment is made again when setup.cfg has changed or another extra is asked for.

set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
VENV=${MQD_VENV:-$ROOT/.venv}
PYTHON=$VENV/bin/python

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

# Prints what the environment has to match: the extras it has, and the metadata's digest.
_stamp() {
    local digest
    digest=$(cat "$ROOT/setup.cfg" "$ROOT/pyproject.toml" | cksum | cut -d ' ' -f 1)
    echo "$digest $ROOT $*"
}

ensure_venv() {
    local stamp_file=$VENV/.mqd-stamp extras wanted have=""
    if [ -f "$stamp_file" ]; then
        have=$(cut -d ' ' -f 3- "$stamp_file")
    fi
    extras=$(printf '%s\n' $have "$@" | sort -u | tr '\n' ' ')
    extras=${extras% }
    extras=${extras# }
    wanted=$(_stamp "$extras")
    if [ -f "$stamp_file" ] && [ "$(cat "$stamp_file")" = "$wanted" ]; then
        return
    fi
    local base
    base=$(find_python)
    echo "setting up $VENV ($("$base" --version)${extras:+, with $extras}) ..." >&2
    if [ ! -x "$PYTHON" ]; then
        "$base" -m venv "$VENV" ||
            die "no virtual environment could be made; on Debian: apt install python3-venv"
    fi
    "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        --editable "$ROOT${extras:+[${extras// /,}]}" >&2 ||
        die "pip could not install the dependencies; is a package index reachable?"
    echo "$wanted" >"$stamp_file"
}
