"""Which files are meant, and their text."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from ops.policyfile.found import FilesError, Finding

MAX_FILE = 8 << 20  # bytes; nobody reviews more, and nothing grows without bounds


def paths_of(given: Sequence[Path]) -> list[Path]:
    """The files meant: of a directory its *.yaml and *.yml, by name; pack:NAME is one of the industry packs. Raises
    FilesError."""
    found: list[Path] = []
    for path in given:
        if path.name.startswith("pack:"):
            packs = Path(str(resources.files("configs"))) / "packs"
            found.append(packs / f"{path.name.removeprefix('pack:')}.yaml")
        elif path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml"))
            if not inside:
                raise FilesError([Finding(str(path), 1, "the directory has no *.yaml", "name the files")])
            found += inside
        else:
            found.append(path)
    return found


def text_of(path: Path) -> str:
    """The file's text. Raises FilesError."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise FilesError(
                [Finding(str(path), 1, "the file is larger than 8 MiB", "divide it, for example by tenant")]
            )
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise FilesError([Finding(str(path), 1, f"cannot be read: {error.strerror}", "correct the name")]) from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise FilesError([Finding(str(path), line, "is not UTF-8 here", "save the file as UTF-8")]) from None
