"""The link's command line: enrol, run, status, denials, doctor.

Exit status: 0 well, 1 not, 2 usage, 5 no gateway reached, 6 the gateway said no.
"""

import argparse
import asyncio
import getpass
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ops.link import ask, denials, doctor, identity, words
from ops.link.enrolling import enrol, settings_of
from ops.link.error import LinkError, Refused, Unreachable
from ops.link.files import LISTEN, PORTAL, Files, default_directory
from ops.link.local import USER
from ops.link.proxy import Link
from ops.link.renewal import renew_for_ever
from ops.link.words import t


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words.use(words.language_of(given))
    chosen = _parser().parse_args(given)
    files = Files(Path(chosen.dir) if chosen.dir else default_directory())
    try:
        return int(chosen.command(files, chosen))
    except LinkError as error:
        _say(error.what)
        if error.remedy:
            _say(f"  → {error.remedy}")
        if isinstance(error, Refused) and error.ref:
            _say(f"  {t('Reference')} {error.ref}")
        return 5 if isinstance(error, Unreachable) else 6 if isinstance(error, Refused) else 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dir", metavar="DIR", help=t("Where key, certificate and settings are kept."))
    shared.add_argument("--lang", choices=("zh", "en"), help=t("Language of words."))
    parser = argparse.ArgumentParser(prog="feiyu-link", description=t("Forwarder of a firm's machine to the gateway."))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[Files, Any], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[shared], help=text, description=text)
        made.set_defaults(command=command)
        return made

    one = add("enrol", _enrol, t("Enrol this machine with an invite's token."))
    one.add_argument("--gateway", action="append", required=True, metavar="HOST:PORT", help=t("May be repeated."))
    one.add_argument("--ca", required=True, metavar="SHA256", help=t("Fingerprint of the zone's root CA."))
    one.add_argument("--token-file", metavar="FILE", help=t("Where the token is; - for stdin (default: asked for)."))
    one.add_argument("--portal", default=PORTAL, metavar="NAME", help=t("Name of the firm's own page."))
    one.add_argument("--listen", default=LISTEN, metavar="ADDRESS:PORT", help=t("Where programs find the link."))
    one.add_argument("--listen-anywhere", action="store_true", help=t("Let other machines in as this one."))
    one.add_argument("--local-token", action="store_true", help=t("Demand a password of this machine's programs."))
    one.add_argument("--again", action="store_true", help=t("Enrol a machine anew that is enrolled."))
    add("run", _run, t("Serve as a proxy on this machine, until stopped."))
    for name, command, text in (
        ("status", _status, t("Show who this machine is, and until when.")),
        ("denials", _denials, t("Show the firm's last refusals in plain words.")),
        ("doctor", _doctor, t("Look at everything between this machine and the gateways.")),
    ):
        one = add(name, command, text)
        one.add_argument("--json", action="store_true", help=t("As JSON."))
        if name == "denials":
            one.add_argument("--mine", action="store_true", help=t("Of this machine alone."))
    return parser


def _enrol(files: Files, chosen: Any) -> int:
    settings = settings_of(
        chosen.gateway, chosen.ca, chosen.portal, chosen.listen,
        with_token=chosen.local_token, anywhere=chosen.listen_anywhere,
    )  # fmt: skip
    enrol(files, settings, _token(chosen.token_file), _say, again=chosen.again)
    found = identity.read(files.identity)
    _say(t("Enrolled: {credential} of {tenant}.", credential=found.credential, tenant=found.tenant))
    _say(t("Now start feiyu link run, and set http://{address} as the proxy.", address=settings.listen))
    if settings.local_token:
        _say(t("Its user is {user}; its password is in {path}.", user=USER, path=files.directory / "link.json"))
    return 0


def _token(file: str | None) -> str:
    """Never from the arguments, which every user of the machine sees."""
    try:
        if file is None and sys.stdin.isatty():
            return getpass.getpass(t("Token: ")).strip()
        return (sys.stdin.readline() if file in (None, "-") else Path(str(file)).read_text("ascii")).strip()
    except (OSError, ValueError) as error:
        raise LinkError(t("{path} cannot be read: {why}", path=file, why=error)) from None


def _run(files: Files, chosen: Any) -> int:
    settings = files.settings()
    identity.read(files.identity)

    async def serve() -> None:
        link = Link(files, settings, _say)
        link.context()
        async with await link.listen() as server:
            _say(t("listens on {address}", address=settings.listen))
            stop = asyncio.Event()
            _on_signals(stop)
            tasks = [
                asyncio.create_task(work)
                for work in (link.probe_for_ever(), renew_for_ever(files, settings, _say), stop.wait())
            ]
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            server.close()
            for task in done:
                task.result()

    asyncio.run(serve())
    return 0


def _on_signals(stop: asyncio.Event) -> None:
    """SIGTERM ends it well; Windows has no such handlers, and there Ctrl-C does."""
    for name in ("SIGTERM", "SIGINT"):
        try:
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), stop.set)
        except NotImplementedError:
            pass


def _status(files: Files, chosen: Any) -> int:
    settings, found = files.settings(), identity.read(files.identity)
    facts = {
        "tenant": found.tenant, "credential": found.credential, "valid_until": found.ends,
        "renews_at": int(found.renews_at()), "sha256": found.sha256, "gateways": list(settings.gateways),
        "listen": settings.listen, "local_token": bool(settings.local_token),
        "listening": doctor.listening(settings).state == doctor.GOOD, "expired": time.time() >= found.ends,
    }  # fmt: skip
    if chosen.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        rows = [
            (t("Firm"), found.tenant), (t("Credential"), found.credential), (t("Good until"), _moment(found.ends)),
            (t("To be renewed at"), _moment(found.renews_at())), (t("Gateways"), ", ".join(settings.gateways)),
            (t("Proxy"), f"http://{settings.listen}"),
            (t("Running"), t("yes") if facts["listening"] else t("no")),
        ]  # fmt: skip
        for name, value in rows:
            print(f"{name}: {value}")
    return 0 if facts["listening"] and not facts["expired"] else 1


def _denials(files: Files, chosen: Any) -> int:
    settings = files.settings()
    page = ask.of_any(settings.gateways, lambda gateway: ask.page(files, settings, gateway))
    found = denials.rows(page, mine=identity.read(files.identity).credential if chosen.mine else "")
    print(json.dumps(found, ensure_ascii=False) if chosen.json else denials.told(page, found, settings.portal))
    return 0


def _doctor(files: Files, chosen: Any) -> int:
    found = []
    marks = {doctor.GOOD: "✓", doctor.WARN: "!", doctor.BAD: "✗"}
    for one in doctor.findings(files, files.settings()):
        found.append(one)
        if not chosen.json:
            print(f"{marks[one.state]} {one.name}: {one.says}", flush=True)
            if one.remedy:
                print(f"    → {one.remedy}", flush=True)
    if chosen.json:
        print(json.dumps([vars(one) for one in found], ensure_ascii=False))
    return 1 if any(one.state == doctor.BAD for one in found) else 0


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _say(text: str) -> None:
    """For a person: stderr, so that stdout holds only data."""
    print(text, file=sys.stderr, flush=True)
