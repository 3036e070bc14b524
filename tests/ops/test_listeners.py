"""Listening sockets of the supervisor: bound to an interface where the configuration names one."""

import socket

import pytest

from ops.listeners import ListenError, Listeners, listen
from ops.settings import Listener


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.root
def test_a_listener_with_an_interface_hears_that_interface_only() -> None:
    with listen(Listener(name="a", address=f"127.0.0.1:{free_port()}", interface="lo")) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"


@pytest.mark.root
def test_an_interface_that_does_not_exist_is_told_with_what_to_do() -> None:
    with pytest.raises(ListenError, match=r"No such device; there is no such interface: `ip link`"):
        listen(Listener(name="a", address=f"127.0.0.1:{free_port()}", interface="nosuch0"))


@pytest.mark.root
def test_naming_an_interface_later_opens_other_sockets_and_lets_go_of_the_old() -> None:
    address = f"127.0.0.1:{free_port()}"
    before, after = Listener(name="a", address=address), Listener(name="a", address=address, interface="lo")
    listeners = Listeners()
    try:
        listeners.prepare([before], 2)
        old = listeners.share([before], 0, 1)["a"]
        listeners.prepare([after], 2)
        new = listeners.share([after], 0, 1)["a"]
        assert len(old) == len(new) == 2
        assert not set(old) & set(new)
        listeners.retain([after])
        with pytest.raises(KeyError):
            listeners.share([before], 0, 1)
    finally:
        listeners.close()
