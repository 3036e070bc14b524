"""What the shop abroad has: a wheel, an npm package and a git repository, made here; each with the word GREETING."""

import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from tests.acceptance.shop import TARBALL

NAME, VERSION = "feiyu-sample", "1.0"
GREETING = "hello from abroad"


def make(directory: Path, environment: dict[str, str]) -> None:
    """Fills a directory for tests.acceptance.shop. environment: for git; no repository is made where git is missing."""
    _wheel(directory / "pypi")
    _npm(directory / "npm")
    if shutil.which("git", path=environment["PATH"]):
        _repository(directory / "git", environment)


def _wheel(folder: Path) -> None:
    folder.mkdir(parents=True)
    module = NAME.replace("-", "_")
    info = f"{module}-{VERSION}.dist-info"
    files = {
        f"{module}.py": f"GREETING = {GREETING!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{module}-{VERSION}-py3-none-any.whl", "w") as wheel:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(name, text)


def _npm(folder: Path) -> None:
    folder.mkdir(parents=True)
    manifest = json.dumps({"name": NAME, "version": f"{VERSION}.0", "main": "index.js"})
    (folder / "package.json").write_text(manifest)
    with tarfile.open(folder / TARBALL, "w:gz") as archive:
        for name, text in {"package.json": manifest, "index.js": f"module.exports = {GREETING!r}\n"}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


def _repository(folder: Path, environment: dict[str, str]) -> None:
    """A bare repository with one commit in which README says GREETING."""
    source = folder.parent / "source"
    who = {"GIT_AUTHOR_NAME": "sample", "GIT_AUTHOR_EMAIL": "sample@mirror.code.example"}
    who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], env=environment | who, check=True, capture_output=True)

    git("init", "-q", "-b", "main", str(source))
    (source / "README").write_text(GREETING)
    git("-C", str(source), "add", "README")
    git("-C", str(source), "commit", "-q", "-m", "A greeting")
    git("clone", "-q", "--bare", str(source), str(folder / f"{NAME}.git"))
