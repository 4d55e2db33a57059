"""Warnings of unknown DIGITS_* variables and unknown tables in digits.toml, which are ignored."""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from typing import TYPE_CHECKING

from digits.storage.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cyclopts import App

PREFIX = "DIGITS_"


def drop_empty_variables() -> None:
    """Removes empty DIGITS_* variables: scripts and containers use them for variables that are not set."""
    for name in [name for name, value in os.environ.items() if name.startswith(PREFIX) and not value]:
        del os.environ[name]


def warn_of_unknown_variables(app: App, commands: Iterable[str]) -> None:
    """Warns of each DIGITS_* variable that is not a setting, and removes it.

    If it stayed, cyclopts would fill any argument from it, such as a version's number from DIGITS_VERSION.
    """
    given = {name for name in os.environ if name.startswith(PREFIX)}
    if given:
        known = _known_variables(app, commands)
        _warn(given, known, "is not a setting")
        for name in given - known:
            del os.environ[name]


def warn_of_unknown_tables(file: Path, commands: set[str]) -> None:
    """Warns of each table of the settings file that is not named after a command."""
    try:
        tables = set(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return  # none, or one that the command itself complains of
    _warn(tables, commands, f"in {file} is not a command")


def _warn(given: set[str], known: set[str], what: str) -> None:
    for name in sorted(given - known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(one_line(f"digits: warning: {name} {what} and is ignored{hint}"), file=sys.stderr)


def _known_variables(app: App, commands: Iterable[str]) -> set[str]:
    """The variables that any command takes; this imports the commands' files."""
    known = set()
    for command in commands:
        found = app
        for name in command.split():
            found = found[name]
        for argument in found.assemble_argument_collection():
            if argument.name != "*" and argument.parameter.show_env_var is not False:
                known.add(PREFIX + argument.name.upper().lstrip("-").replace("-", "_"))
    return known
