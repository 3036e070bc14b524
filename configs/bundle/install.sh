#!/bin/sh
# Installs Feiyu from this bundle, without network. usage: ./install.sh [DIRECTORY] (default /opt/feiyu)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=${1:-/opt/feiyu}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || {
  echo "Feiyu needs Python 3.12 or newer; set PYTHON to one. Found: $("$python" -V 2>&1)" >&2
  exit 1
}
"$python" -m venv "$into"
"$into/bin/pip" install -q --disable-pip-version-check --no-index --find-links "$here/wheels" -c "$here/constraints.txt" feiyu
"$into/bin/feiyu" version
echo "Installed into $into. Next: $into/bin/feiyu init" >&2
