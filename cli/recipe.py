"""Settings of `digits train` that come from a recipe, and those that --resume excludes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import CycloptsError
from cyclopts.config import Dict

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

WITH_RESUME = {"--resume", "--finish", "--data"}


def from_recipe(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """A source of settings for cyclopts: the recipe given, after the command line, the environment and digits.toml."""
    if commands != ("train",):
        return
    from digits.train.recipes import RECIPES

    chosen = [token.value for token in arguments["--recipe"].tokens]
    if chosen and chosen[-1] in RECIPES:
        source = Dict(RECIPES[chosen[-1]], source=f"recipe {chosen[-1]}", use_commands_as_keys=False)
        source(app, commands, arguments)


def alone_with_resume(_app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Rejects settings on the command line together with --resume, which would ignore them."""
    if commands != ("train",) or not arguments["--resume"].tokens:
        return
    for argument in arguments:
        if argument.tokens and argument.name not in WITH_RESUME:
            raise CycloptsError(msg=f"{argument.name}: a resumed run keeps its own settings; leave it out")
