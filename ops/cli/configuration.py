"""The node's configuration, as a command needs it."""

from pathlib import Path

from ops.cli.errors import CliError, ExitCode
from ops.cli.words import t
from ops.settings import Settings, SettingsError, load_settings


def load(path: Path) -> Settings:
    """The settings, or a CliError (exit 2) with a line PATH:LINE: wrong; expected … for each problem."""
    try:
        return load_settings(path)
    except SettingsError as error:
        remedy = t("Nothing was changed. Correct the file, then run feiyu check.")
        if not path.exists():
            remedy = t("Make one with feiyu init, or name yours with --config FILE.")
        lines = [("", line) for line in str(error).split("\n")]
        raise CliError(ExitCode.USAGE, t("the configuration cannot be used"), remedy, lines) from None
