#!/bin/sh
# Installs Feiyu from this bundle, without network. usage: ./install.sh [DIRECTORY] (default /opt/feiyu)
# PYTHON names the interpreter; it must be of the version the bundle was made with (see python-version).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=${1:-/opt/feiyu}
wanted=$(sed 's/^py//' "$here/python-version")
python=${PYTHON:-}
if [ -z "$python" ]; then
  python=python3
  if command -v "python$wanted" >/dev/null; then python=python$wanted; fi
fi
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || found="nothing that runs as $python"
if [ "$found" != "$wanted" ]; then
  echo "This bundle is for Python $wanted; found: $found. Set PYTHON to a Python $wanted, or make a bundle with yours." >&2
  exit 1
fi
"$python" -m venv "$into/.venv"
pip="$into/.venv/bin/pip --isolated --disable-pip-version-check install -qq --no-index"
$pip --find-links "$here/wheels" --require-hashes -r "$here/requirements.lock"
$pip --no-deps --force-reinstall "$here"/wheels/feiyu-*.whl
mkdir -p "$into/systemd"
cp "$here/README.md" "$here/CHANGELOG.md" "$here/LICENSE" "$into/"
cp "$here"/systemd/* "$into/systemd/"
cp -r "$here/prometheus" "$here/grafana" "$into/"
"$into/.venv/bin/feiyu" version
echo "Installed into $into. Next: $into/.venv/bin/feiyu init" >&2
