"""Builds the load generator and the far end from their C sources."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def build(directory: Path) -> tuple[Path, Path]:
    """The programs tunnels and origin, compiled into the directory. Raises SystemExit with the compiler's words."""
    programs = []
    for name in ("tunnels", "origin"):
        program = directory / name
        done = subprocess.run(
            ["cc", "-O2", "-o", str(program), str(HERE / f"{name}.c")], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{name}.c does not compile:\n{done.stderr}")
        programs.append(program)
    return programs[0], programs[1]
