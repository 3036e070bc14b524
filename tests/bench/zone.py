"""The ground of one proxy's measurement: three network namespaces, client – gateway – abroad, joined by veth pairs.

    client 10.0.0.2 (and all of 10.64.0.0/16) ── acc0 10.0.0.1 gateway 198.51.100.2 iplc1 ── 198.51.100.1 abroad
                                                                      203.0.113.10 origin, 203.0.113.53 resolver

Each proxy has a ground of its own, built alike, so that one's kernel rules do not touch the other. The namespaces have
no names: they end with the processes in them.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Self

from pyroute2 import IPRoute

from tests.netns.kit import Namespace

NAME = "origin.abroad.example"
PORT = 443
ORIGIN, RESOLVER = "203.0.113.10", "203.0.113.53"
CLIENT, GATEWAY = "10.0.0.2", "10.0.0.1"
SOURCES = "10.64.0.0/16"
LINE_NEAR, LINE_FAR = "198.51.100.2", "198.51.100.1"
ACCESS_DEVICE, LINE_DEVICE = "acc0", "iplc1"
CODE = Path(__file__).parent.parent.parent
# One round opens more connections than there are ports: let those that are over go soon.
_SYSCTLS = {
    "ipv4/ip_local_port_range": "10000 65535",
    "ipv4/tcp_tw_reuse": "1",
    "ipv4/tcp_max_tw_buckets": "4096",
    "core/somaxconn": "65535",
}
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Zone:
    """Use as a context manager. spawn() starts a process that ends with the zone at the latest. directory: on disk;
    run: the path of a proxy's run directory, in memory."""

    def __init__(self, directory: Path, origin: Path, proxy_core: int, load_core: int) -> None:
        self.directory = directory
        self.proxy_core, self.load_core = proxy_core, load_core
        self._origin = origin
        self._processes: list[subprocess.Popen[bytes]] = []
        memory = Path("/dev/shm")
        # As /run is on a node: in memory. What must be durable goes to `directory`.
        self._volatile = tempfile.TemporaryDirectory(prefix="feiyu-bench-", dir=memory if memory.is_dir() else None)
        self.run = Path(self._volatile.name) / "run"
        self.client, self.gateway, self.abroad = Namespace(), Namespace(), Namespace()

    def __enter__(self) -> Self:
        try:
            self._wire()
            self.spawn(self.abroad, [str(self._origin), str(PORT), ORIGIN], self.load_core, "origin")
            resolver = [sys.executable, "-m", "tests.bench.resolver", RESOLVER, NAME, ORIGIN]
            self.spawn(self.abroad, resolver, self.load_core, "resolver", cwd=CODE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            self.end(process)
        for namespace in (self.client, self.gateway, self.abroad):
            namespace.close()
        self._volatile.cleanup()

    def spawn(
        self, where: Namespace, argv: list[str], core: int, name: str, *, stdout: IO[bytes] | None = None,
        cwd: Path | None = None, environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Starts a process in a namespace, on one core; what it says goes to NAME.log."""

        def before() -> None:
            os.sched_setaffinity(0, {core})
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

        with where.inside(), self.log(name).open("ab") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log, cwd=cwd or self.directory,
                env=None if environment is None else os.environ | environment, preexec_fn=before,  # noqa: PLW1509  # one thread
                start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], patience: float = 10) -> None:
        """SIGTERM, and SIGKILL for what does not heed it."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self._processes:
            self._processes.remove(process)

    def log(self, name: str) -> Path:
        """What a process said."""
        return self.directory / f"{name}.log"

    def _wire(self) -> None:
        for namespace in (self.client, self.gateway, self.abroad):
            with namespace.inside():
                for key, value in _SYSCTLS.items():
                    Path("/proc/sys/net", key).write_text(value)
        self._cable(self.client, "far", CLIENT, ACCESS_DEVICE, GATEWAY, 24)
        self._cable(self.abroad, "far", LINE_FAR, LINE_DEVICE, LINE_NEAR, 30)
        with self.client.inside(), IPRoute() as ip:
            ip.route("add", dst=SOURCES, oif=1, type="local", table=255, scope="host")
            ip.route("add", dst="default", gateway=GATEWAY)
        with self.abroad.inside(), IPRoute() as ip:
            for address in (ORIGIN, RESOLVER):
                ip.addr("add", index=1, address=address, prefixlen=32)
            ip.route("add", dst="default", gateway=LINE_NEAR)
        with self.gateway.inside(), IPRoute() as ip:
            ip.route("add", dst=SOURCES, gateway=CLIENT)
            ip.route("add", dst="default", gateway=LINE_FAR)

    def _cable(self, other: Namespace, far: str, far_address: str, near: str, near_address: str, length: int) -> None:
        with self.gateway.inside(), IPRoute() as ip:
            ip.link("add", ifname=near, kind="veth", peer={"ifname": far, "net_ns_fd": other.fd})
        for namespace, device, address in ((self.gateway, near, near_address), (other, far, far_address)):
            with namespace.inside(), IPRoute() as ip:
                index = ip.link_lookup(ifname=device)[0]
                ip.addr("add", index=index, address=address, prefixlen=length)
                ip.link("set", index=index, state="up")


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A directory for one run that other users can pass through."""
    directory = tempfile.TemporaryDirectory(prefix="feiyu-bench-")
    Path(directory.name).chmod(0o755)
    return directory
