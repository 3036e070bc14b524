"""feiyu ca and certificates as credentials: files, modes, rotation, the API behind them, and the command."""

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from ops.ca import CaFiles, zone_of
from ops.cli.main import run
from ops.doctor.certificates import certificates
from ops.settings import Users, parse_settings
from tenants import ca
from tenants.ca import CaError
from tests.ops.control_kit import Node, running

NOW = 1_800_000_000


def files(root: Path) -> CaFiles:
    """A CA under root/state/ca whose root is in root/safe."""
    found = CaFiles(root / "state" / "ca")
    found.directory.parent.mkdir(exist_ok=True)
    found.make(root / "safe", "zone.example", ["gw1.zone.example"], ca.DAY + NOW)
    return found


def request(directory: Path) -> str:
    """A request as a firm makes it, with openssl."""
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(directory / "client.key"), "-subj", "/CN=x"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_keys_are_private_and_the_roots_is_not_on_the_node(tmp_path: Path) -> None:
    directory = files(tmp_path).directory
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {
        "root.crt": 0o644, "issuing.crt": 0o644, "issuing.key": 0o600, "clients.pem": 0o644, "server.crt": 0o644,
        "server.key": 0o640,
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "safe" / "root.key").stat().st_mode) == 0o600
    with pytest.raises(CaError, match="is there already"):
        files(tmp_path)
    with pytest.raises(CaError, match="taken away"):
        CaFiles(tmp_path / "other" / "ca").make(tmp_path / "other" / "safe", "zone.example", ["gw1.zone.example"], NOW)


def test_a_rotation_keeps_what_was_issued_unless_it_is_distrusted(tmp_path: Path) -> None:
    found = files(tmp_path)
    first = x509.load_pem_x509_certificate((found.directory / "issuing.crt").read_bytes())
    second = found.rotate(tmp_path / "safe", NOW + 2 * ca.DAY)
    trusted = (found.directory / "clients.pem").read_bytes()
    assert x509.load_pem_x509_certificates(trusted) == [second, first]
    assert (found.directory / "previous.key").stat().st_mode & 0o777 == 0o600
    third = found.rotate(tmp_path / "safe", NOW + 3 * ca.DAY, distrust=True)
    assert x509.load_pem_x509_certificates((found.directory / "clients.pem").read_bytes()) == [third]
    assert not (found.directory / "previous.key").exists()
    much_later = NOW + 1_000 * ca.DAY
    fourth = found.rotate(tmp_path / "safe", much_later)  # what has expired is trusted no longer
    assert x509.load_pem_x509_certificates((found.directory / "clients.pem").read_bytes()) == [fourth]
    assert found.serve([], much_later).extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_rotation_needs_the_root_of_this_ca(tmp_path: Path) -> None:
    found = files(tmp_path)
    (tmp_path / "b").mkdir()
    files(tmp_path / "b")
    with pytest.raises(CaError, match="another CA"):
        found.rotate(tmp_path / "b" / "safe", NOW)
    with pytest.raises(FileNotFoundError):
        found.rotate(tmp_path / "nowhere", NOW)


def test_the_doctor_tells_what_is_wrong_with_a_listeners_files(tmp_path: Path) -> None:
    directory = files(tmp_path).directory
    names = {"certificate": "server.crt", "key": "server.key", "client_ca": "clients.pem"}
    tls = {key: directory / name for key, name in names.items()}
    listener = {
        "name": "t", "kind": "http", "address": "127.0.0.1:3129", "demands": ["certificate", "prefix"],
        "tls": {key: str(path) for key, path in tls.items()},
    }  # fmt: skip
    settings = parse_settings(json.dumps({"node": "gw1", "users": {"base": 0}, "listeners": [listener]}), "f.yaml")
    made = ca.DAY + NOW

    def found(now: int, users: Users = settings.users) -> tuple[str, str]:
        (one,) = certificates(msgspec.structs.replace(settings, users=users), now)
        return one.level, one.seen

    assert found(made) == ("ok", "good until 2027-04-16")
    assert found(made + 80 * ca.DAY) == ("warn", "good until 2027-04-16")
    assert found(made + 90 * ca.DAY) == ("fail", "expired on 2027-04-16")
    assert found(made, Users(base=62_000)) == ("fail", f"workers cannot read {tls['key']}")
    tls["key"].chmod(0o644)
    assert found(made) == ("fail", f"everybody may read {tls['key']}")
    tls["key"].unlink()
    level, seen = found(made)
    assert (level, seen.partition("; ")[0]) == ("fail", f"{tls['key']}: No such file or directory")


def test_the_zone_is_the_domain_of_the_nodes_name() -> None:
    assert [zone_of(name) for name in ("gw1.zone.example", "a.b.zone.example", "zone.example", "gw1")] == [
        "zone.example", "b.zone.example", "zone.example", "gw1",
    ]  # fmt: skip


async def issued(node: Node, directory: Path, **fields: Any) -> tuple[int, Any]:
    body = {"reason": "request 7", "tenant": "firm-a", "user": "a laptop", "request": request(directory), **fields}
    return await node.call("POST", "/v1/credentials", body)


async def test_a_certificate_is_issued_kept_by_its_digest_and_listed_once_revoked(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        status, answer = await issued(node, tmp_path)
        assert (status, answer["type"]) == (422, "urn:feiyu:problem:invalid")
        assert "feiyu ca init" in answer["errors"][0]["message"]
        made = CaFiles(node.state / "ca")
        made.make(tmp_path / "safe", "zone.example", ["gw1.zone.example"], ca_now())
        status, answer = await issued(node, tmp_path)
        assert status == 201, answer
        (leaf,) = x509.load_pem_x509_certificates(answer["certificate"].encode())
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate((made.directory / "issuing.crt").read_bytes()))
        item = answer["credential"]
        assert ca.identity(leaf) == ("firm-a", item["id"])
        assert item["certificate_sha256"] == ca.fingerprint(leaf)
        assert int(item["serial"], 16) == leaf.serial_number
        assert item["valid_until"] == int(leaf.not_valid_after_utc.timestamp()) <= ca_now() + 7 * ca.DAY
        assert item["user"].startswith("u-")
        status, edited = await node.call(
            "PATCH", f"/v1/credentials/{item['id']}", {"reason": "x", "certificate_sha256": "0" * 64}
        )
        assert (status, edited["errors"][0]["field"]) == (422, "certificate_sha256")
        assert await revoked(node) == []
        await node.call("POST", f"/v1/credentials/{item['id']}/revoke", {"reason": "lost"})
        assert await revoked(node) == [leaf.serial_number]


def ca_now() -> int:
    import time

    return int(time.time())


async def revoked(node: Node) -> list[int]:
    async with node.client.get("http://control/v1/ca/crl") as response:
        assert response.status == 200
        return [one.serial_number for one in x509.load_pem_x509_crl(await response.read())]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no request at all": ({"request": 5}, "request"),
    "no key that is taken": ({"request": "hello"}, "request"),
    "an end that is past": ({"valid_until": 5}, "request"),
    "a tenant that is none": ({"tenant": "nobody"}, "tenant"),
    "a tenant that is no id": ({"tenant": "a/b"}, "request"),
    "a digest of its own": ({"certificate_sha256": "0" * 64}, "certificate_sha256"),
    "a serial number of its own": ({"serial": "5"}, "serial"),
}


async def test_what_cannot_be_issued_is_refused_by_its_field(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.set_up()
        CaFiles(node.state / "ca").make(tmp_path / "safe", "zone.example", ["gw1.zone.example"], ca_now())
        for case, (fields, field) in REFUSED.items():
            status, answer = await issued(node, tmp_path, **fields)
            assert (status, answer["errors"][0]["field"]) == (422, field), (case, answer)


def test_the_command_makes_and_rotates_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "feiyu.yaml"
    config.write_text(
        f"node: gw1.zone.example\nstate_dir: {tmp_path}/state\nrun_dir: {tmp_path}/run\n"
        'listeners: [{name: plain, address: "127.0.0.1:3128"}]\n'
    )
    (tmp_path / "state").mkdir()

    def feiyu(*arguments: str, code: int = 0) -> tuple[str, str]:
        status = run(["ca", *arguments, "--config", str(config), "--no-input", "--lang", "en"])
        out, err = capsys.readouterr()
        assert status == code, (out, err)
        return out, err

    root = str(tmp_path / "safe")
    assert "no CA on this node" in feiyu("rotate", code=1)[1]
    out, err = feiyu("init", "--root", root, "--name", "gw1.zone.example", "--name", "10.0.0.1", "-o", "json")
    shown = x509.load_pem_x509_certificate((tmp_path / "safe" / "root.crt").read_bytes())
    assert json.loads(out)["root_sha256"] == ca.fingerprint(shown)
    assert f"Take {root} off this node now" in err
    assert "is there already" in feiyu("init", "--root", root, code=1)[1]
    told = json.loads(feiyu("rotate", "--root", root, "-o", "json")[0])
    assert set(told) == {"directory", "issuing_sha256", "server_sha256", "server_until"}
    served = x509.load_pem_x509_certificates((tmp_path / "state" / "ca" / "server.crt").read_bytes())
    assert told["server_sha256"] == ca.fingerprint(served[0])
    assert told["issuing_sha256"] == ca.fingerprint(served[1])
    assert "No such file" in feiyu("rotate", "--root", str(tmp_path / "nowhere"), code=1)[1]
    assert "no control socket" in feiyu("crl", code=5)[1]
