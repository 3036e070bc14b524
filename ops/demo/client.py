"""curl in a firm's namespace, and what it got."""

import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.demo.network import TIMEOUT, Wire, Zone

_RECORD_SEPARATOR = "\x1e"
_REF = re.compile(r"\(ref ([0-9A-Z]{13,})\)")
_DETAILS = re.compile(r'details="([a-z0-9-]+) ref=', re.ASCII)
# Whatever proxies the person at the keyboard uses, these programs use ours.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin", "LANG": "C.UTF-8", "HOME": "/"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What curl saw. heads: each response head, CONNECT's first; exit: curl's status; figures: its %{json}."""

    command: str
    exit: int
    heads: tuple[str, ...] = ()
    body: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def status_line(self) -> str:
        """Of the last response; "" where there was none."""
        return self.heads[-1].split("\n", 1)[0] if self.heads else ""

    @property
    def status(self) -> int:
        """Of the last response; 0 where there was none."""
        words = self.status_line.split(" ", 2)
        return int(words[1]) if len(words) > 1 else 0

    def header(self, name: str) -> str:
        """A header of the last response, "" where it is not there."""
        for line in self.heads[-1].split("\n")[1:] if self.heads else ():
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""

    @property
    def ref(self) -> str:
        """The reference in the status line of a refusal."""
        found = _REF.search(self.status_line)
        return found[1] if found else ""

    @property
    def reason(self) -> str:
        """The reason in the Proxy-Status of a refusal."""
        found = _DETAILS.search(self.header("Proxy-Status"))
        return found[1] if found else ""

    @property
    def error(self) -> str:
        """curl's own words."""
        return str(self.figures.get("errormsg") or "")

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object; {} where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Client:
    """A program of a firm. file: its curl configuration, which holds proxy, credential and CA."""

    zone: Zone
    wire: Wire
    file: Path
    directory: Path

    def arguments(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return ["curl", "-K", str(self.file), *arguments]

    def shown(self, *arguments: str) -> str:
        """The command as a person would type it in the demo's directory."""
        return shlex.join(["curl", "-K", self.file.name, *arguments])

    def curl(self, *arguments: str, timeout: float = TIMEOUT) -> Answer:
        """Runs curl to its end."""
        asked = self.arguments("-i", "-m", str(timeout - 1), "-w", f"{_RECORD_SEPARATOR}%{{json}}", *arguments)
        done = self.zone.run(self.wire.ns, asked, timeout, env=ENVIRONMENT)
        return answer_of(self.shown(*arguments), done.returncode, done.stdout)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts curl; what it gets goes nowhere, its figures to stdout."""
        asked = self.arguments("-o", "/dev/null", "-w", "%{json}", *arguments)
        return self.zone.spawn(self.wire.ns, asked, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def answer_of(command: str, status: int, output: str) -> Answer:
    """Takes apart what `curl -i -w` wrote."""
    text, _, tail = output.rpartition(_RECORD_SEPARATOR)
    text = text.replace("\r\n", "\n")
    heads = []
    while text.startswith("HTTP/"):
        head, separator, text = text.partition("\n\n")
        heads.append(head)
        if not separator:
            break
    return Answer(command, status, tuple(heads), text, json.loads(tail) if tail.startswith("{") else {})


def write_config(file: Path, wire: Wire, port: int, ca: Path, identity: str, *, version: int = 4) -> None:
    """A curl configuration for its owner's eyes only. identity: "credential:token", or "" for a stranger."""
    near = wire.near[version]
    host = f"[{near}]" if version == 6 else near
    lines = [f'proxy = "http://{host}:{port}"', f'cacert = "{ca}"', "silent", "show-error", "connect-timeout = 10"]
    if identity:
        lines.append(f'proxy-user = "{identity}"')
    file.touch(0o600)
    file.write_text("\n".join(lines) + "\n")
