"""What an operator hands to a firm whose machine is to enrol: a command without a secret in it, and a token."""

from collections.abc import Sequence

from ops.cli import output
from ops.cli.app import App
from ops.cli.client import Json
from ops.cli.times import format_end
from ops.cli.words import t

BUNDLE = "feiyu-link.pyz"


def command(gateways: Sequence[str], root_sha256: str) -> str:
    """The firm's one line. Its arguments are seen by all users of a machine, so the token is asked for instead."""
    named = " ".join(f"--gateway {gateway}" for gateway in gateways or ("GATEWAY:PORT",))
    return f"python3 {BUNDLE} enrol {named} --ca {root_sha256}"


def hand_over(app: App, answer: Json, *, has_way: bool) -> None:
    """For a person; the answer of control, with the command."""
    item = answer.get("credential") or {}
    rows = [
        (t("Invite"), item.get("id")),
        (t("Token"), answer.get("token")),
        (t("Root's SHA-256"), answer.get("root_sha256")),
        (t("UNTIL"), format_end(item.get("valid_until", 0))),
        (t("Command"), answer.get("command")),
    ]
    output.print_details(rows)
    app.say("")
    app.say(
        t("The token is good once, is not kept and cannot be shown again. Send it by another way than the command.")
    )
    app.say(t("feiyu link bundle writes {name}; the firm's machine needs Python 3.11 and cryptography.", name=BUNDLE))
    if not has_way:
        app.say(
            t("No listener takes this firm's certificates: add one with tls and client_ca, and fill in GATEWAY:PORT.")
        )
