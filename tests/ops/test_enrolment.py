"""Control's side of enrolment, over portal.sock: which invites and renewals are certified, once each, and what a
revocation takes along."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gateway.application import PROOF, Application, Asked
from ops.api.recorder_client import RecorderClient
from ops.ca import CaFiles
from ops.control import listening
from ops.link import identity
from ops.portal.app import portal_application
from ops.portal.guesses import BURST, EVERY, Guesses
from ops.settings import Settings
from tenants import ca
from tenants.change import Change, ChangeRefused
from tenants.model import Credential
from tests.ops.control_kit import FROM, NODE, UNTIL, Node, running
from whitelist.compiler import rows

FIRM = "firm-a"


@dataclass
class Machine:
    """A firm's machine: its key and certificate, as the link holds them."""

    key: bytes = b""
    certificate: str = ""
    request: bytes = b""
    credential: str = ""

    def ask(self) -> str:
        self.key, self.request = identity.new_request()
        return self.request.decode()


@dataclass
class Zone:
    """Control with a CA, and a worker's end of portal.sock."""

    node: Node
    path: Path

    async def apply(self, *, source: str = "10.0.0.9", tenant: str = FIRM, **more: Any) -> tuple[int, Any]:
        """Status and JSON; more: of the application and of what the machine says."""
        renew, credential = more.pop("renew", False), more.pop("credential", "")
        asked = Application(renew=renew, tenant=tenant, credential=credential, source=source, asked=Asked(**more))
        connector = aiohttp.UnixConnector(str(self.path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post("http://portal/enrolment", data=msgspec.json.encode(asked)) as response,
        ):
            return response.status, await response.json(content_type=None)

    async def invite(self, tenant: str = FIRM, **more: Any) -> tuple[str, str]:
        """An invite's id and token."""
        fields = {"tenant": tenant, "user": "desk 4", "valid_until": UNTIL, "invite": True} | more
        answer = await self.node.add("credentials", **fields)
        return answer["credential"]["id"], answer["token"]

    async def enrolled(self, token: str) -> Machine:
        machine = Machine()
        status, answer = await self.apply(request=machine.ask(), token=token)
        assert status == 200, answer
        machine.certificate, machine.credential = answer["certificate"], answer["credential"]
        return machine

    def renewal(self, machine: Machine, **changes: Any) -> tuple[Machine, dict[str, Any]]:
        """What the machine says to renew: the machine as it will be, and the words."""
        following = Machine()
        request = following.ask()
        said = {
            "renew": True, "credential": machine.credential, "request": request, "certificate": machine.certificate,
            "proof": signed(machine.key, PROOF + request.encode()),
        }  # fmt: skip
        return following, said | changes

    async def credential(self, name: str) -> Any:
        _, found = await self.node.call("GET", f"/v1/credentials/{name}")
        return found


def signed(key: bytes, data: bytes) -> str:

    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return base64.b64encode(private.sign(data, ec.ECDSA(hashes.SHA256()))).decode()


@pytest.fixture
async def zone(tmp_path: Path) -> AsyncIterator[Zone]:
    """Two firms and a CA."""
    async with running(tmp_path) as made:
        await made.set_up()
        place = {"site": "lingang-a", "room": "r2", "interface": "acc1", "prefix": "10.1.0.0/24"}
        await made.add("tenants", id="firm-b", name="Firm B", valid_from=FROM, valid_until=UNTIL, places=[place])
        files = CaFiles(made.state / "ca")
        files.make(tmp_path / "safe", "zone.example", ["gw1.zone.example"], int(time.time()))
        recorder = RecorderClient(made.run / "recorder.sock")
        settings = Settings(node=NODE, listeners=())
        runner = web.AppRunner(portal_application(made.authority, recorder, settings, files))
        await runner.setup()
        path = made.run / "portal.sock"
        await web.SockSite(runner, listening(path, None)).start()
        try:
            yield Zone(made, path)
        finally:
            await runner.cleanup()
            await recorder.close()


async def test_an_invite_becomes_a_certificate_that_the_register_holds_and_the_workers_know(zone: Zone) -> None:
    name, token = await zone.invite()
    machine = await zone.enrolled(token)
    made = x509.load_pem_x509_certificate(machine.certificate.encode())
    held = await zone.credential(machine.credential)
    assert ca.identity(made) == (FIRM, machine.credential)
    assert (held["tenant"], held["enrolment"], held["certificate_sha256"]) == (FIRM, name, ca.fingerprint(made))
    assert held["user"].startswith("u-")
    assert held["provenance"]["actor"] == "enrolment from 10.0.0.9"
    assert zone.node.hub.revisions[-1] == held["provenance"]["revision"]
    invite = await zone.credential(name)
    assert invite["used"] > 0
    assert "token_sha256" not in invite


async def test_an_invite_is_not_in_the_policy_that_workers_read(zone: Zone) -> None:

    digest = "0" * 64
    given = {"id": "c-0000000000", "tenant": FIRM, "token_sha256": digest, "valid_until": UNTIL}
    assert rows(Credential(**given, invite=True)) == []
    assert len(rows(Credential(**given))) == 1


async def test_of_two_at_once_with_one_token_one_gets_in(zone: Zone) -> None:
    _, token = await zone.invite()
    machines = [Machine() for _ in range(4)]
    answers = await asyncio.gather(*(zone.apply(request=m.ask(), token=token) for m in machines))
    assert sorted(status for status, _ in answers) == [200, 410, 410, 410]
    _, found = await zone.node.call("GET", "/v1/credentials", tenant=FIRM)
    assert len([one for one in found["items"] if one.get("enrolment")]) == 1


def changed(token: str) -> str:
    return token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]


NOES: dict[str, tuple[int, str]] = {
    "no token": (403, "no token of an invite"),
    "another's id": (403, "no such invite"),
    "a wrong token": (403, "no such invite"),
    "from another firm's network": (403, "no such invite"),
    "a token that is no invite's": (403, "no such invite"),
    "an expired one": (410, "has expired"),
    "a revoked one": (410, "was revoked"),
    "a request that is none": (422, "no certificate request"),
    "a request with a key of another kind": (422, "P-256"),
}


@pytest.mark.parametrize("case", NOES)
async def test_who_is_turned_away(case: str, zone: Zone) -> None:
    name, token = await zone.invite(**({"valid_until": int(time.time()) - 1} if case == "an expired one" else {}))
    request, tenant = Machine().ask(), FIRM
    if case == "no token":
        token = ""
    elif case == "another's id":
        token = "c-0000000000" + token[12:]
    elif case == "a wrong token":
        token = changed(token)
    elif case == "from another firm's network":
        tenant = "firm-b"
    elif case == "a token that is no invite's":
        answer = await zone.node.add("credentials", tenant=FIRM, user="x", valid_until=UNTIL)
        token = f"{answer['credential']['id']}.{answer['token']}"
    elif case == "a revoked one":
        await zone.node.call("POST", f"/v1/credentials/{name}/revoke", {"reason": "a test"})
    elif case == "a request that is none":
        request = "x"
    elif case == "a request with a key of another kind":
        request = rsa_request()
    status, words = NOES[case]
    answered, found = await zone.apply(request=request, token=token, tenant=tenant)
    assert answered == status
    assert words in found["detail"]
    assert not (await zone.credential(name)).get("used")  # what was refused does not use it up


def rsa_request() -> str:

    key = rsa.generate_private_key(65_537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def test_an_address_that_guesses_has_to_wait_and_others_have_not(zone: Zone) -> None:
    _, token = await zone.invite()
    for _ in range(BURST):
        assert (await zone.apply(request="x", token=changed(token)))[0] == 403
    status, found = await zone.apply(request=Machine().ask(), token=token)
    assert (status, "too many wrong tokens" in found["detail"]) == (429, True)
    status, _ = await zone.apply(request=Machine().ask(), token=token, source="10.0.0.10")
    assert status == 200


def test_guesses_are_forgotten_one_by_one() -> None:
    found = Guesses()
    for _ in range(BURST):
        assert not found.too_many("a", 0.0)
        found.wrong("a", 0.0)
    assert found.too_many("a", EVERY - 1)
    assert not found.too_many("a", EVERY)
    assert not found.too_many("b", 0.0)


async def test_a_certificate_is_renewed_by_its_own_key_and_the_present_one_stays_good(zone: Zone) -> None:
    name, token = await zone.invite()
    machine = await zone.enrolled(token)
    following, said = zone.renewal(machine)
    status, answer = await zone.apply(**said)
    assert status == 200, answer
    following.certificate, following.credential = answer["certificate"], answer["credential"]
    new, old = await zone.credential(following.credential), await zone.credential(machine.credential)
    assert (new["enrolment"], new["user"], new["tenant"]) == (name, old["user"], FIRM)
    assert not old.get("revoked")
    status, _ = await zone.apply(**zone.renewal(following)[1])
    assert status == 200


RENEWALS: dict[str, tuple[int, str]] = {
    "a proof by another key": (403, "not signed"),
    "a proof of another request": (403, "not signed"),
    "no proof": (403, "not signed"),
    "a proof that is not base64": (422, "not base64"),
    "another's certificate": (403, "does not hold this certificate"),
    "a certificate that is none": (422, "not PEM"),
    "in another firm's name": (403, "does not hold this certificate"),
    "the same key": (422, "a new key"),
    "after a revocation": (410, "revoked or has expired"),
    "of one that was issued by hand": (410, "issued by hand"),
}


@pytest.mark.parametrize("case", RENEWALS)
async def test_whose_renewal_is_turned_away_though_a_worker_asks_for_it(case: str, zone: Zone) -> None:
    machine = await zone.enrolled((await zone.invite())[1])
    other = await zone.enrolled((await zone.invite())[1])
    _, said = zone.renewal(machine)
    if case == "a proof by another key":
        said["proof"] = signed(other.key, PROOF + said["request"].encode())
    elif case == "a proof of another request":
        said["proof"] = signed(machine.key, PROOF + b"other")
    elif case == "no proof":
        said["proof"] = ""
    elif case == "a proof that is not base64":
        said["proof"] = "?"
    elif case == "another's certificate":
        said["certificate"] = other.certificate
    elif case == "a certificate that is none":
        said["certificate"] = "x"
    elif case == "in another firm's name":
        said["tenant"] = "firm-b"
    elif case == "the same key":
        said |= {"request": machine.request.decode(), "proof": signed(machine.key, PROOF + machine.request)}
    elif case == "after a revocation":
        await zone.node.call("POST", f"/v1/credentials/{machine.credential}/revoke", {"reason": "a test"})
    elif case == "of one that was issued by hand":
        by_hand = Machine()
        answer = await zone.node.add("credentials", tenant=FIRM, user="x", valid_until=UNTIL, request=by_hand.ask())
        by_hand.certificate, by_hand.credential = answer["certificate"], answer["credential"]["id"]
        _, said = zone.renewal(by_hand)
    status, words = RENEWALS[case]
    answered, found = await zone.apply(**said)
    assert answered == status
    assert words in found["detail"]


@pytest.mark.parametrize("which", ["the invite", "the first", "the last"])
async def test_a_revocation_takes_along_what_goes_back_to_the_same_invite(which: str, zone: Zone) -> None:
    name, token = await zone.invite()
    bystander = await zone.enrolled((await zone.invite())[1])
    first = await zone.enrolled(token)
    last, said = zone.renewal(first)
    _, answer = await zone.apply(**said)
    last.certificate, last.credential = answer["certificate"], answer["credential"]
    chosen = {"the invite": name, "the first": first.credential, "the last": last.credential}[which]
    status, answer = await zone.node.call("POST", f"/v1/credentials/{chosen}/revoke", {"reason": "laptop lost"})
    assert (status, answer["item"]["id"]) == (200, chosen)
    for one in (name, first.credential, last.credential):
        assert (await zone.credential(one))["revoked"] > 0
    assert not (await zone.credential(bystander.credential)).get("revoked")
    for machine in (first, last):
        assert (await zone.apply(**zone.renewal(machine)[1]))[0] == 410


async def test_a_certificate_cannot_go_back_to_an_invite_that_was_revoked_a_moment_ago(zone: Zone) -> None:
    """The check is in the transaction, behind all that was looked at before."""

    name, _ = await zone.invite()
    await zone.node.call("POST", f"/v1/credentials/{name}/revoke", {"reason": "a test"})
    fields = {
        "tenant": FIRM, "certificate_sha256": "0" * 64, "serial": "1", "valid_until": UNTIL, "enrolment": name,
    }  # fmt: skip
    with pytest.raises(ChangeRefused) as caught:
        await zone.node.authority.write([Change(collection="credentials", verb="add", fields=fields)], "x", "y")
    assert "is revoked, and all that goes back to it" in caught.value.errors[0][1]


async def test_the_api_sets_no_enrolment_and_makes_no_invite_without_a_ca(zone: Zone) -> None:
    name, _ = await zone.invite()
    fields = {"tenant": FIRM, "user": "x", "valid_until": UNTIL, "reason": "a test"}
    status, answer = await zone.node.call("POST", "/v1/credentials", {**fields, "enrolment": name})
    assert (status, answer["errors"][0]["field"]) == (422, "enrolment")
    (zone.node.state / "ca" / "root.crt").unlink()
    status, answer = await zone.node.call("POST", "/v1/credentials", {**fields, "invite": True})
    assert (status, answer["type"]) == (409, "urn:feiyu:problem:no-ca")


def test_the_link_and_the_gateway_mean_the_same_by_a_proof() -> None:
    assert identity.PROOF == PROOF
