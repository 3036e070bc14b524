"""The link as one file that Python runs (a zipapp, PEP 441), for machines that have Python 3.11 and cryptography."""

import zipfile
from pathlib import Path

NAME = "feiyu-link.pyz"
_MAIN = """import sys

if sys.version_info < (3, 11):
    sys.exit("feiyu link needs Python 3.11 or newer · 需要 Python 3.11 或更新版本")
try:
    import cryptography  # noqa: F401
except ImportError:
    sys.exit("feiyu link needs cryptography · 需要 cryptography：python3 -m pip install 'cryptography>=38'")
from ops.link.main import main

sys.exit(main())
"""
_THEN = (1980, 1, 1, 0, 0, 0)  # so that the same code makes the same bytes, whose SHA-256 can be told


def write(path: Path) -> None:
    """Raises OSError."""
    here = Path(__file__).parent
    content = {"__main__.py": _MAIN, "ops/__init__.py": ""}
    content |= {f"ops/link/{file.name}": file.read_text("utf-8") for file in sorted(here.glob("*.py"))}
    with path.open("wb") as target:
        target.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in content.items():
                archive.writestr(zipfile.ZipInfo(name, _THEN), text, zipfile.ZIP_DEFLATED)
    path.chmod(0o755)


if __name__ == "__main__":
    Path("dist").mkdir(exist_ok=True)
    write(Path("dist") / NAME)
    print(Path("dist") / NAME)
