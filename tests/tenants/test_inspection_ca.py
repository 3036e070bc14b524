"""Certificates of inspection, verified by OpenSSL: an intermediate speaks for its hosts alone."""

import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tenants import ca, inspection_ca
from tenants.ca import CaError
from tenants.inspection_ca import Intermediate, issue_leaf, load_intermediate, new_intermediate, new_root

NOW = int(time.time())
KEY = ec.generate_private_key(ec.SECP256R1())


def intermediate(*hosts: str) -> tuple[ca.Authority, Intermediate]:
    root = new_root("acme", NOW)
    return root, load_intermediate(inspection_ca.bundle(new_intermediate(root, hosts, NOW)))


def verifies(root: ca.Authority, made: Intermediate, leaf: bytes, host: str, directory: Path) -> bool:
    for name, content in (("root", ca.pem(root.certificate)), ("mid", ca.pem(made.certificate)), ("leaf", leaf)):
        (directory / name).write_bytes(content)
    kind = "-verify_ip" if host.replace(".", "").isdigit() or ":" in host else "-verify_hostname"
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", "root", "-untrusted", "mid", "-purpose", "sslserver", kind, host, "leaf"],
        cwd=directory, capture_output=True,
    )  # fmt: skip
    return done.returncode == 0


SPEAKS = [("api.example.com",), ("*.example.com",), ("api.example.com", "203.0.113.0/24"), ("2001:db8::/32",)]


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        (SPEAKS[0], "api.example.com"),
        (SPEAKS[1], "a.b.example.com"),
        (SPEAKS[2], "203.0.113.7"),
        (SPEAKS[3], "2001:db8::1"),
    ],
)
def test_a_leaf_for_a_host_of_the_intermediate_holds(hosts: tuple[str, ...], host: str, tmp_path: Path) -> None:
    root, made = intermediate(*hosts)
    leaf = issue_leaf(made, KEY.public_key(), host, NOW)
    assert verifies(root, made, ca.pem(leaf), host, tmp_path)


OTHERS = [(SPEAKS[0], "api.example.org"), (SPEAKS[0], "example.com"), (SPEAKS[0], "203.0.113.7"),
          (SPEAKS[2], "198.51.100.1"), (SPEAKS[3], "api.example.com"), (SPEAKS[0], "badapi.example.com")]  # fmt: skip


@pytest.mark.parametrize(("hosts", "host"), OTHERS)
def test_no_leaf_for_another_host_is_made(hosts: tuple[str, ...], host: str) -> None:
    _, made = intermediate(*hosts)
    with pytest.raises(CaError, match="does not speak for"):
        issue_leaf(made, KEY.public_key(), host, NOW)


@pytest.mark.parametrize(("hosts", "host"), OTHERS)
def test_a_stolen_intermediate_is_worthless_for_another_host(hosts: tuple[str, ...], host: str, tmp_path: Path) -> None:
    """The same with a thief who does not ask: clients refuse what it signs."""
    root, made = intermediate(*hosts)
    every = Intermediate(made.certificate, made.key, (*made.hosts, host, f"{host}/32", "0.0.0.0/0"), made.until)
    leaf = issue_leaf(every, KEY.public_key(), host, NOW)
    assert not verifies(root, made, ca.pem(leaf), host, tmp_path)


def test_an_intermediate_makes_no_further_authority_and_ends_with_its_root() -> None:
    root = new_root("acme", NOW, 10 * 86_400)
    made = new_intermediate(root, ["api.example.com"], NOW, 30 * 86_400)
    assert made.certificate.not_valid_after_utc <= root.certificate.not_valid_after_utc


def test_without_a_host_there_is_no_intermediate() -> None:
    with pytest.raises(CaError, match="no host to speak for"):
        new_intermediate(new_root("acme", NOW), [], NOW)


def test_an_authority_without_constraints_is_not_taken() -> None:
    with pytest.raises(CaError, match="name constraints"):
        load_intermediate(inspection_ca.bundle(new_root("acme", NOW)))
