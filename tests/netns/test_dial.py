"""The dial primitive on real devices: what it sets, what it refuses, and with which capability."""

import dataclasses
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.line import dial
from gateway.line.dial import DialError
from gateway.line.model import Egress, LineError, LineHandle, LineResolver, class_of
from ops.privileges import Privileges, apply
from tests.netns.bench import FLUSH_ROUTES, Bench
from tests.netns.child import in_a_child
from tests.netns.kit import ABROAD, PORT
from whitelist.address import CheckedAddress, check
from whitelist.decide import Permit
from whitelist.model import Protocol

pytestmark = pytest.mark.root
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
CAP_NET_RAW = 13


def permit(*lines: str) -> Permit:
    return Permit(
        tenant="t", grant="g", service="s", endpoint="e", protocol=Protocol.TLS, lines=lines, not_after=0, revision=1,
        special_prefixes=("203.0.113.0/24", "2001:db8::/32"), max_tunnels=1, slot=0,
    )  # fmt: skip


def checked(version: int) -> CheckedAddress:
    return check(ABROAD[version], ("203.0.113.0/24", "2001:db8::/32"), frozenset())


@FAMILIES
def test_a_connection_carries_mark_device_and_source(bench: Bench, version: int) -> None:
    sock = dial.connect(permit("line-1"), checked(version), PORT, bench.one)
    sock.settimeout(3)
    sock.send(b"x")  # waits until it is established
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0x46000100
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b"iplc1\0"
    assert sock.getsockname()[0] == bench.zone.wires["iplc1"].near[version]
    assert sock.getpeername()[:2] == (ABROAD[version], PORT)
    sock.close()


@FAMILIES
def test_questions_go_to_the_lines_own_resolvers(bench: Bench, version: int) -> None:
    sock = dial.connect_resolver(bench.one, LineResolver(version, ABROAD[version]))
    sock.send(b"question")
    sock.close()
    assert bench.zone.count("iplc1").leaked == 1
    with pytest.raises(LineError, match="is not one of its resolvers"):
        dial.connect_resolver(bench.one, LineResolver(4, "8.8.8.8"))


@FAMILIES
def test_a_tenant_with_a_share_leaves_by_its_own_source_in_its_own_class(bench: Bench, version: int) -> None:
    own = {4: "198.51.100.77", 6: "2001:db8:77::7"}
    bench.run("ip addr add 198.51.100.77/32 dev iplc1", "ip addr add 2001:db8:77::7/128 dev iplc1 nodad")
    share = Egress(own[4], own[6], class_of(1, 9))
    line = dataclasses.replace(bench.one, tenants={"t": share})
    sock = dial.connect(permit("line-1"), checked(version), PORT, line)
    assert sock.getsockname()[0] == own[version]
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 0x46000109
    sock.close()
    other = dial.connect(replace(permit("line-1"), tenant="u"), checked(version), PORT, line)
    assert other.getsockname()[0] == bench.zone.wires["iplc1"].near[version]
    assert other.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 0, "the line is not shaped for the others"
    other.close()


def test_without_a_free_port_it_is_said_between_which_addresses(bench: Bench) -> None:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    before = path.read_text()
    path.write_text("40000 40001")
    try:
        held = [dial.connect(permit("line-1"), checked(4), PORT, bench.one) for _ in range(2)]
        with pytest.raises(DialError) as caught:
            dial.connect(permit("line-1"), checked(4), PORT, bench.one)
    finally:
        path.write_text(before)
    source = bench.zone.wires["iplc1"].near[4]
    assert str(caught.value) == f"line line-1: no free port of {source} towards {ABROAD[4]}:{PORT}"
    assert caught.value.errno == errno.EADDRNOTAVAIL
    for sock in held:
        sock.close()


def test_a_line_the_permit_does_not_name_is_refused(bench: Bench) -> None:
    with pytest.raises(LineError, match="is not designated by the permit"):
        dial.connect(permit("line-2"), checked(4), PORT, bench.one)


@pytest.mark.parametrize("address", [ABROAD[4], None, ("203.0.113.10", 4)], ids=["text", "nothing", "tuple"])
def test_an_unchecked_address_is_refused(bench: Bench, address: object) -> None:
    with pytest.raises(TypeError, match="takes a Permit and a CheckedAddress"):
        dial.connect(permit("line-1"), address, PORT, bench.one)  # type: ignore[arg-type]  # that is the test


def _gone(bench: Bench) -> None:
    bench.run("ip link del iplc1")


def _bare(bench: Bench) -> None:
    bench.run("ip -4 addr flush dev iplc1")


REFUSALS: dict[str, tuple[Callable[[Bench], None], str]] = {
    "the device is gone": (_gone, "bind to device: No such device; see that device iplc1 exists"),
    "the source is gone": (_bare, "bind to source: Cannot assign requested address; see that the line's source"),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_no_socket_is_given_when(bench: Bench, sentence: str) -> None:
    spoil, message = REFUSALS[sentence]
    spoil(bench)
    with pytest.raises(LineError, match=message):
        dial.open_socket(4, bench.one)


def test_a_family_the_line_lacks_is_refused(bench: Bench) -> None:
    with pytest.raises(LineError, match="carries no IPv6"):
        dial.open_socket(6, dataclasses.replace(bench.one, source6=""))


class Lying(socket.SocketType):
    """A socket whose kernel says yes and does nothing: what the read-back is for."""

    def setsockopt(self, *_: object) -> None:  # type: ignore[override]  # every form of it
        return


def test_a_socket_that_did_not_take_its_mark_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "SocketType", Lying)
    with pytest.raises(LineError, match="socket has mark 0x0 and device b''"):
        dial.open_socket(4, bench.one)


def test_a_line_without_routes_is_a_line_error_and_not_the_destinations(bench: Bench) -> None:
    bench.run(*FLUSH_ROUTES)
    with pytest.raises(LineError) as caught:
        dial.connect(permit("line-1"), checked(6), PORT, bench.one)
    assert caught.value.errno


def as_nobody(capabilities: frozenset[int], work: Callable[[], str]) -> str:
    """What work() answers, or why it failed, in a child of another user with only these capabilities."""

    def confined() -> str:
        apply(Privileges(uid=65534, gid=65534, capabilities=capabilities), os.getppid())
        try:
            return work()
        except LineError as error:
            return str(error)

    return in_a_child(confined)


def _established(line: LineHandle) -> str:
    for version in (4, 6):
        sock = dial.open_socket(version, line)
        sock.settimeout(3)
        sock.connect((ABROAD[version], PORT))
        sock.close()
    return f"uid {os.getuid()} connected"


def test_cap_net_raw_alone_is_enough(bench: Bench) -> None:
    answer = as_nobody(frozenset({CAP_NET_RAW}), lambda: _established(bench.one))
    assert answer == "uid 65534 connected"


def test_without_capability_the_line_is_refused_and_nothing_leaves(bench: Bench) -> None:
    answer = as_nobody(frozenset(), lambda: _established(bench.one))
    assert answer == "line line-1: set mark: Operation not permitted; give the worker CAP_NET_RAW"
    assert [bench.zone.count(device).leaked for device in ("wan0", "iplc1", "iplc2")] == [0, 0, 0]
