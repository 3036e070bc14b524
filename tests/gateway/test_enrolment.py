"""A machine without a certificate on a listener that demands one: what it may say, what control is asked, what is
recorded. Control is a socket that the test holds; the whole way is in tests/acceptance."""

import json
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.kit import Ground, Talk, until
from tests.gateway.node import Worker, authorization
from tests.gateway.secure_kit import ClientFile, SecureNode, ask
from tests.gateway.test_portal import Control, listening_control, said

pytestmark = pytest.mark.root

ENROL = "feiyu-enrol"


@pytest.fixture(scope="module")
def node(session_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureNode]:
    with SecureNode(session_ground, tmp_path_factory.mktemp("enrolment")) as found:
        yield found


@pytest.fixture
def worker(node: SecureNode, ground: Ground) -> Iterator[Worker]:
    """One whose buckets no other test has emptied."""
    name = f"w{len(node.workers)}.1"
    made = node.worker(name)
    yield made
    ground.tidy()
    made.stop()
    node.hub.workers.pop(name, None)


@pytest.fixture
def control(node: SecureNode) -> Iterator[Control]:
    yield from listening_control(node.run / "portal.sock")


def context(client: ClientFile, protocols: list[str], *, shown: bool = False) -> ssl.SSLContext:
    found = client.context(shown=shown)
    found.set_alpn_protocols(protocols)
    return found


def machine(node: SecureNode, worker: Worker, *, shown: bool = False, client: ClientFile | None = None) -> Talk:
    """A connection for enrolment; shown: with a certificate."""
    client = client or node.pki.client()
    return node.secure(worker, client, context=context(client, [ENROL], shown=shown))


def post(path: str, body: object, fields: str = "") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: feiyu.zone\r\n{fields}Content-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


def recorded(node: SecureNode, talk: Talk) -> dict[str, Any]:
    until(lambda: node.of(talk), "no record")
    assert len(node.of(talk)) == 1
    return node.of(talk)[0]


ASKED = {"request": "CSR", "token": "c-0000000000.T"}


def test_control_is_asked_with_the_firm_whose_place_it_is_and_its_answer_goes_out_sealed(
    node: SecureNode, worker: Worker, control: Control
) -> None:
    control.answer = said(b'{"certificate":"PEM"}')
    talk = machine(node, worker)
    talk.trickle(post("/enrol", ASKED))
    assert talk.head().startswith("HTTP/1.1 200 OK")
    assert json.loads(talk.rest()) == {"certificate": "PEM"}
    assert control.heads[0].startswith("POST /enrolment HTTP/1.1")
    full = {"request": "CSR", "token": "c-0000000000.T", "certificate": "", "proof": ""}
    assert control.asked == [{"renew": False, "tenant": "acme", "credential": "", "source": "10.0.0.2", "asked": full}]
    record = recorded(node, talk)
    assert (record["kind"], record["host"], record["path"], record["tenant"]) == (
        "portal", "feiyu.zone", "/enrol", "acme",
    )  # fmt: skip


NOES = {
    "a wrong token": (403, 407, "identity-unknown"),
    "an invite that was used": (410, 407, "identity-revoked"),
    "a request that is none": (422, 400, "malformed-request"),
    "too many wrong tokens": (429, 429, "rate-limited"),
}


@pytest.mark.parametrize("case", NOES)
def test_a_no_of_controls_is_a_refusal_with_its_words_and_a_record(
    case: str, node: SecureNode, worker: Worker, control: Control
) -> None:
    answered, status, reason = NOES[case]
    control.answer = said(b'{"detail":"the words"}', status=answered)
    talk = machine(node, worker).say(post("/enrol", ASKED))
    head = talk.head()
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(talk.rest())["cause"] == "the words"
    record = recorded(node, talk)
    assert (record["kind"], record["reason"], record["detail"]) == ("deny", reason, "the words")
    assert record["ref"] in head


def test_without_control_nobody_enrols_and_the_record_says_why(node: SecureNode, worker: Worker) -> None:
    talk = machine(node, worker).say(post("/enrol", ASKED))
    assert talk.head().startswith("HTTP/1.1 503 ")
    assert recorded(node, talk)["detail"].startswith("control is not reached")


REFUSED = {
    "a CONNECT": (ask("tcp.example:443").encode(), 407, "identity-unknown"),
    "a CONNECT with a token": (
        ask("tcp.example:443", f"Proxy-Authorization: {authorization('acme')}\r\n").encode(), 407, "identity-unknown",
    ),
    "a plain request to elsewhere": (
        b"GET http://tcp.example/ HTTP/1.1\r\nHost: tcp.example\r\n\r\n", 407, "identity-unknown",
    ),
    "the firm's page": (b"GET / HTTP/1.1\r\nHost: feiyu.zone\r\n\r\n", 407, "identity-unknown"),
    "a GET": (b"GET /enrol HTTP/1.1\r\nHost: feiyu.zone\r\n\r\n", 403, "method-not-allowed"),
    "no length": (b"POST /enrol HTTP/1.1\r\nHost: feiyu.zone\r\n\r\n", 400, "malformed-request"),
    "a long body": (b"POST /enrol HTTP/1.1\r\nHost: f\r\nContent-Length: 24577\r\n\r\n", 400, "malformed-request"),
    "chunks": (
        b"POST /enrol HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed-request",
    ),
    "what is not JSON": (post("/enrol", b"{"), 400, "malformed-request"),
    "a field that is unknown": (post("/enrol", {"request": "", "tenant": "birch"}), 400, "malformed-request"),
    "a renewal without a certificate": (post("/renew", {"request": ""}), 407, "identity-unknown"),
    "a renewal with a token": (
        post("/renew", {"request": ""}, f"Proxy-Authorization: {authorization('acme')}\r\n"), 407, "identity-unknown",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_connection_that_enrols_leads_nowhere_else(
    case: str, node: SecureNode, worker: Worker, control: Control
) -> None:
    words, status, reason = REFUSED[case]
    talk = machine(node, worker).say(words)
    assert talk.head().startswith(f"HTTP/1.1 {status} ")
    assert recorded(node, talk)["reason"] == reason
    assert control.asked == []


def test_a_renewal_is_asked_for_whom_the_certificate_says(node: SecureNode, worker: Worker, control: Control) -> None:
    client = node.known()
    talk = machine(node, worker, shown=True, client=client).say(post("/renew", {"request": "CSR", "proof": "P"}))
    assert talk.head().startswith("HTTP/1.1 200 ")
    asked = control.asked[0]
    assert (asked["renew"], asked["tenant"], asked["credential"]) == (True, "acme", client.name)


def test_a_revoked_certificate_does_not_come_as_far_as_control(
    node: SecureNode, worker: Worker, control: Control
) -> None:
    client = node.known(number=8, revoked=1_700_000_000)
    talk = machine(node, worker, shown=True, client=client).say(post("/renew", {"request": "CSR"}))
    assert talk.head().startswith("HTTP/1.1 407 ")
    assert recorded(node, talk)["reason"] == "identity-revoked"
    assert control.asked == []


@pytest.mark.parametrize("protocols", [["http/1.1"], [ENROL, "http/1.1"], ["http/1.1", ENROL]], ids=" ".join)
def test_whoever_does_not_ask_to_enrol_alone_must_show_a_certificate(
    protocols: list[str], node: SecureNode, worker: Worker
) -> None:
    client = node.pki.client()
    with pytest.raises(OSError, match="CERTIFICATE_REQUIRED"):
        node.secure(worker, client, context=context(client, protocols)).say(ask("tcp.example:443")).exactly(1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_session_that_was_made_to_enrol_opens_nothing_when_it_is_taken_up_for_something_else(
    version: ssl.TLSVersion, node: SecureNode, worker: Worker, control: Control
) -> None:
    control.answer = said(b"{}")
    client = node.pki.client()
    tls = context(client, [ENROL])
    tls.minimum_version = tls.maximum_version = version
    first = node.secure(worker, client, context=tls).say(post("/enrol", ASKED))
    first.rest()
    session = first.sock.session  # type: ignore[attr-defined]  # it is an SSLSocket
    assert session is not None
    tls.set_alpn_protocols(["http/1.1"])
    words = ask("tcp.example:443", f"Proxy-Authorization: {authorization('acme')}\r\n")
    again = node.secure(worker, client, context=tls, session=session)
    again.say(words)
    try:
        head = again.head()
    except OSError:
        return  # turned away in the handshake already
    assert head.startswith("HTTP/1.1 407 ")
    assert recorded(node, again)["reason"] == "identity-unknown"


def test_the_firms_page_comes_sealed_on_a_tls_listener(node: SecureNode, worker: Worker, control: Control) -> None:
    big = json.dumps({"x": "y" * 600_000}).encode()  # more than one call of the library takes
    control.answer = said(big)
    client = node.known(number=9)
    talk = node.secure(worker, client).say("GET http://feiyu.zone/ HTTP/1.1\r\nHost: feiyu.zone\r\n\r\n")
    assert talk.head().startswith("HTTP/1.1 200 ")
    assert talk.rest() == big
