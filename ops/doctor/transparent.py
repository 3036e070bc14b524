"""Whether this machine's kernel and nft can do what transparent listeners need. Nothing is changed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

from ops.doctor.finding import Finding, fail, ok
from ops.listeners import TRANSPARENT
from ops.settings import Settings

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def examine(settings: Settings) -> Iterator[Finding]:
    """One finding for each family that a transparent listener is of; none where there is none."""
    listeners = [listener for listener in settings.listeners if listener.is_transparent]
    for family in sorted({listener.family for listener in listeners}):
        version = 4 if family == socket.AF_INET else 6
        name = f"transparent IPv{version}"
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.setsockopt(*TRANSPARENT[family], 1)
            except OSError as error:
                why = os.strerror(error.errno or 0)
                yield fail(name, f"a socket cannot be made transparent: {why}", "run as root, or with CAP_NET_RAW")
                continue
        yield ok(name, "sockets can take what is addressed elsewhere")
    if listeners:
        yield _table(settings)


def _table(settings: Settings) -> Finding:
    """The table as it will stand, without lines, put before the kernel and not taken."""
    # loaded only here: it brings the lines' code, and netlink, with it
    from gateway.line.killswitch import render
    from ops.lines import lines_config

    program = shutil.which("nft", path=_PATH)
    if not program:
        return fail("transparent", "the program nft is not installed", "apt-get install nftables")
    text = render((), lines_config(settings).node)
    done = subprocess.run(
        [program, "--check", "-f", "-"], input=text, capture_output=True, text=True, timeout=10, check=False
    )
    if done.returncode:
        words = (done.stderr.strip() or "it failed").splitlines()[0]
        return fail(
            "transparent", f"nft refuses the table: {words}", "the kernel needs nft_tproxy, nft_fib, nft_reject"
        )
    return ok("transparent", "nft takes the table")
