"""The command `digits`. Its sub-commands are imported only when they are called."""

import sys
from _signal import (  # type: ignore[import-not-found] # of C, and imported by the interpreter itself, unlike `signal`
    SIG_BLOCK,
    SIG_SETMASK,
    SIGINT,
    SIGTERM,
    pthread_sigmask,
)

try:
    MASK = pthread_sigmask(SIG_BLOCK, {SIGINT, SIGTERM})  # signals wait until there is something that takes them
    from digits.cli import streams
    from digits.cli.interruption import INTERRUPTION

    if __name__ == "__main__" or sys.argv[0].endswith("digits"):  # and not where a test imports this
        INTERRUPTION.begin()
finally:
    pthread_sigmask(SIG_SETMASK, MASK)

import ast
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Env, Toml

from digits.cli.environment import drop_empty_variables, warn_of_unknown_tables, warn_of_unknown_variables
from digits.cli.errors import complain, explained, is_message, missing

CTRL_C = 128 + SIGINT  # an exit code
# What to install for the commands that need more than the base. Each is a file of this folder.
EXTRAS = {
    "train": "train",
    "compare": "train",
    "sweep": "train",
    "export": "train,serve",
    "verify": "train,serve",
    "models": "train",
    "serve": "serve",
    "classify": "serve",
    "read": "serve",
    "score": "serve",
    "bench": "train,serve,bench",
    "demo": "train,serve",
}
GROUPS = {
    "models": "List, show, compare, roll back and prune published versions.",
    "bench": "Run the benchmarks, and write their results.",
}


def of_the_command(name: str) -> Callable[..., None]:
    """A source of settings for cyclopts: the function of this name in the command's own file, if it has one."""

    def source(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        file = sys.modules.get(f"digits.cli.{commands[0]}") if commands else None
        getattr(file, name, lambda *_: None)(app, arguments)

    return source


app = App(
    name="digits",
    help="From raw handwritten digits to a served answer.",
    help_epilogue="Every option can stand in the environment as DIGITS_OPTION, or in digits.toml under its command.",
    version=version("digits-serving"),
    config=[of_the_command("_check"), Env("DIGITS_", command=False), Toml("digits.toml"), of_the_command("_fill")],
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def add_commands() -> list[str]:
    """Adds every public function with a docstring of this folder's files; gives the commands' names.

    The docstring is the help. It is read from the source, since importing the commands would take too long.
    """
    names = []
    for file in EXTRAS:
        parent = app
        if file in GROUPS:
            parent = App(name=file, help=GROUPS[file])
            app.command(parent)
        for node in ast.parse(Path(__file__).with_name(f"{file}.py").read_bytes()).body:
            if (
                isinstance(node, ast.FunctionDef)
                and not node.name.startswith("_")
                and (text := ast.get_docstring(node))
            ):
                name = node.name.rstrip("_")
                summary = text.partition("\n\nArgs:")[0]
                parent.command(f"digits.cli.{file}:{node.name}", name=name, help=summary)
                names.append(name if parent is app else f"{file} {name}")
    return names


COMMANDS = add_commands()


def main() -> None:
    INTERRUPTION.begin()
    streams.open_closed()
    streams.take_any_character()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it at its import
    code = run()
    streams.discard_output()
    sys.exit(code)


def run() -> int:
    """Runs the command line, and gives the exit code. What is the user's to fix is one line on stderr."""
    try:
        try:
            INTERRUPTION.run()
            _check_settings()
            code: int = app(exit_on_error=False, print_error=False) or 0
            sys.stdout.flush()
        finally:
            INTERRUPTION.finish()
    except BaseException as error:
        answer = _answer(error)
        if answer is None:
            raise
        return answer
    return code


def _check_settings() -> None:
    drop_empty_variables()
    warn_of_unknown_variables(app, COMMANDS)
    warn_of_unknown_tables(Path("digits.toml"), set(EXTRAS))


def _answer(error: BaseException) -> int | None:
    """The exit code of what a command has raised, after a line that says what it was; None for a fault of ours."""
    if (code := INTERRUPTION.exit_code(error)) is not None:
        notes: list[str] = getattr(error, "__notes__", [])
        return complain("; ".join(["interrupted", *notes]), code) if code == CTRL_C or notes else code
    if isinstance(error, CycloptsError):
        return complain(" ".join(str(error).split()), 2)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("digits."):
        return complain(missing(error.name.partition(".")[0], sys.argv[1], EXTRAS[sys.argv[1]]), 1)
    if isinstance(error, BrokenPipeError):
        return 1  # the reader has seen enough
    if isinstance(error, Exception) and is_message(error):
        return complain(explained(error, sys.argv[1:]), 1)
    return None


if __name__ == "__main__":
    main()
