"""The link needs nothing of Feiyu's and nothing else: as one file, by every Python here that has cryptography."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from ops import link
from ops.link import archive
from ops.link.words_zh import ZH

CODE = Path(link.__file__).parent
PYTHONS = sorted({sys.executable, "/usr/bin/python3.11", "/usr/bin/python3.12", "/usr/bin/python3.13"})
LOADED = (
    "import runpy, sys\n"
    "sys.argv[0:1] = []\n"
    "sys.path.insert(0, sys.argv[0])\n"
    "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    "except SystemExit as end: status = end.code\n"
    "own = {n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)\n"
    "print('LOADED', status, *sorted(own), file=sys.stderr)\n"
)


def test_it_imports_the_standard_library_and_cryptography_alone() -> None:
    for file in CODE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                own = name == "ops.link" or name.startswith("ops.link.")
                assert own or top == "cryptography" or top in sys.stdlib_module_names, (file.name, name)


def usable(python: str) -> bool:
    asked = [python, "-I", "-c", "import cryptography, sys; sys.exit(sys.version_info < (3, 11))"]
    return Path(python).exists() and subprocess.run(asked, capture_output=True).returncode == 0


@pytest.mark.parametrize("python", PYTHONS)
def test_the_file_runs_by_itself_and_loads_nothing_else(python: str, tmp_path: Path) -> None:
    if not usable(python):
        pytest.skip(f"{python} is not here, or has no cryptography")
    path = tmp_path / archive.NAME
    archive.write(path)
    for arguments, wanted in (
        (["status", "--dir", str(tmp_path / "none"), "--lang", "en"], "LOADED 1"),
        (["--help"], "LOADED 0"),
    ):
        argv = [python, "-I", "-c", LOADED, str(path), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert wanted in done.stderr, done.stderr
        own = set(done.stderr.rpartition("LOADED ")[2].split()[1:])
        # bcrypt is cryptography's own choice, where it is installed
        assert own <= {"ops", "cryptography", "bcrypt", "_cffi_backend", "cffi", "__mp_main__", "_openssl", "_rust"} | {
            name for name in own if name.startswith(("_", "sitecustomize", "apport"))
        }
    assert "this machine is not enrolled" in subprocess.run(
        [python, "-I", str(path), "status", "--dir", str(tmp_path / "none"), "--lang", "en"],
        capture_output=True, text=True,
    ).stderr  # fmt: skip


def test_the_same_code_makes_the_same_file(tmp_path: Path) -> None:
    archive.write(tmp_path / "a")
    archive.write(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_everything_that_is_said_is_said_in_chinese_too() -> None:
    texts = set()
    for file in CODE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("t", "both"):
                assert isinstance(node.args[0], ast.Constant) or file.name == "words.py"
                texts |= {n.value for n in node.args[:1] if isinstance(n, ast.Constant)}
    assert texts == set(ZH)
    for english, chinese in ZH.items():
        assert sorted(_names(english)) == sorted(_names(chinese)), english


def _names(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:]]
