#!/usr/bin/env bash
# Sets up what the Makefile's targets need. usage: setup.sh python VENV | system | tests | clients VENV |
# bench | bench-peers | bundle VENV | lock
set -euo pipefail
cd "$(dirname "$0")"

export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

# A Python of at least 3.12: on PATH, else the newest one that pyenv holds.
find_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  local root=${PYENV_ROOT:-$HOME/.pyenv}
  while read -r candidate; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done < <(ls -d "$root"/versions/*/bin/python 2>/dev/null | sort -rV)
  say "Feiyu needs Python 3.12 or newer: none on PATH, none in pyenv. Install one (apt-get install python3.12, or pyenv install 3.13)."
  exit 1
}

updated=
# Debian packages whose command is missing: installed as root, named otherwise. $1: what they are for; then command=package.
need() {
  local what=$1 pair missing=()
  shift
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing for $what: ${missing[*]}"
    if [ -z "$updated" ]; then
      apt-get update -qq
      updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    say "missing for $what: ${missing[*]} (as root: apt-get install ${missing[*]})"
  fi
}

case ${1:-} in
  python)
    venv=$2
    if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
      python=$(find_python)
      rm -rf "$venv"
      "$python" -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install -qq --require-hashes -r requirements.lock
    # The project itself, from this folder; what it builds with is in the lock.
    "$venv/bin/python" -m pip install -qq --no-deps --no-build-isolation -e .
    "$venv/bin/python" -m pip check >/dev/null
    ;;
  system)
    need "lines, demo and tests" nft=nftables ip=iproute2 curl=curl tcpdump=tcpdump strace=strace
    ;;
  tests)
    # Small programs that tests run; those of `clients` are large, and left to who wants them.
    need tests haproxy=haproxy iptables=iptables openssl=openssl git=git wget=wget unshare=util-linux \
      pg_ctlcluster=postgresql || say "the tests with what is missing are skipped, and say so"
    # Servers that tests start by themselves. (Debian may start them as services, too, when it installs them.)
    need "the tests of streams and alerts" nats-server=nats-server rsyslogd=rsyslog promtool=prometheus \
      prometheus-alertmanager=prometheus-alertmanager amtool=prometheus-alertmanager ||
      say "the tests with what is missing are skipped, and say so"
    compgen -G '/usr/lib/*/rsyslog/lmnsd_gtls.so' >/dev/null ||
      need "the tests of syslog over TLS" rsyslog-gtls=rsyslog-gnutls || say "the tests of it are skipped, and say so"
    ;;
  clients)
    # About 400 MB to fetch and 1.5 GB on disk where all is missing. Tests of a program that is not there say so.
    for program in wget=wget git=git go=golang-go javac=default-jdk-headless chromium=chromium certutil=libnss3-tools; do
      need "the tests with real clients" "$program" || say "no ${program#*=} here: the tests with it are skipped"
    done
    lock=tests/acceptance/clients.lock
    if ! cmp -s "$lock" .clients/installed; then
      rm -rf .clients
      "$2/bin/python" -m venv .clients
      if .clients/bin/python -m pip install -qq --require-hashes --only-binary :all: -r "$lock"; then
        cp "$lock" .clients/installed
      else
        say "cannot install $lock: the tests with requests, Node and npm are skipped"
        rm -rf .clients
      fi
    fi
    ;;
  bench)
    need "the benchmark" squid=squid cc=gcc taskset=util-linux
    ;;
  bench-peers)
    need "the benchmark's peers" squid=squid cc=gcc taskset=util-linux tinyproxy=tinyproxy-bin
    ;;
  bundle)
    venv=$2
    rm -rf build  # also what setuptools left there: it would pack deleted modules
    mkdir -p build/bundle/wheels dist
    # What a node needs, without the tools of developers; wheels only, so that installing compiles nothing.
    "$venv/bin/python" configs/bundle/runtime.py 'feiyu[gm]' < requirements.lock > build/bundle/requirements.lock
    "$venv/bin/python" -m pip download -qq --require-hashes --only-binary :all: -r build/bundle/requirements.lock -d build/bundle/wheels
    "$venv/bin/python" -m pip wheel -qq --no-deps --no-build-isolation -w build/bundle/wheels .
    cp -r README.md CHANGELOG.md LICENSE configs/bundle/install.sh configs/systemd configs/prometheus configs/grafana build/bundle/
    rm -f build/bundle/grafana/generate.py
    tag=$("$venv/bin/python" -c 'import sys, sysconfig; print("py%d.%d" % sys.version_info[:2], sysconfig.get_platform(), sep="-")')
    version=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("feiyu"))')
    printf '%s\n' "${tag%%-*}" > build/bundle/python-version
    name=feiyu-$version-$tag
    tar -C build -cf - --sort=name --owner=0 --group=0 --numeric-owner --transform "s/^bundle/$name/" bundle | gzip -n > "dist/$name.tar.gz"
    (cd dist && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
    say "dist/$name.tar.gz"
    ;;
  lock)
    tool=$(mktemp -d)
    trap 'rm -rf "$tool"' EXIT
    python=$(find_python)
    "$python" -m venv "$tool"
    "$tool/bin/pip" install -qq uv
    # Neither an index nor a local folder may show in the file.
    compile() {
      env -u PIP_FIND_LINKS "$tool/bin/uv" pip compile -q "$@" --universal --python-version 3.12 \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-header
    }
    compile pyproject.toml --extra dev --extra analytics -o requirements.lock
    compile tests/acceptance/clients.in -o tests/acceptance/clients.lock
    ;;
  *)
    say "usage: setup.sh python VENV | system | tests | clients VENV | bench | bench-peers | bundle VENV | lock"
    exit 2
    ;;
esac
