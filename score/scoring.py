"""A scoring from its inputs to its table: chunks are decoded, classified, kept in a journal, and written as a table."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from tqdm import tqdm

from digits.images.version import PREPROCESSING_VERSION
from digits.score import classifiers, contact_sheet, tables
from digits.score.chunk import Chunk, Scored
from digits.score.classifiers import Classifier
from digits.score.engine import Engine, local_engine
from digits.score.errors import ScoreError
from digits.score.journal import Journal, journal_files
from digits.score.labels import Labels, labels
from digits.score.settings import ROW_SETTINGS, ScoreSettings
from digits.score.sources import Sources, checked
from digits.score.summary import Summary
from digits.storage.atomic_file import unfinished
from digits.storage.text import one_line


def score(
    paths: Iterable[str],
    settings: ScoreSettings,
    say: Callable[[str], None] = print,
    done: Callable[[], None] = lambda: None,
) -> int:
    """Scores all inputs into the table. However it is interrupted, finished rows are kept, and the same call goes on.

    Args:
        paths: As `Sources` takes them.
        settings: How it is done.
        say: Takes the lines of the summary.
        done: Called when the table is written and only the journal is left to remove: an interrupt would come too late.

    Returns:
        How many inputs have no digit: rows without one, and what is skipped.

    Raises:
        ScoreError: it cannot begin, or cannot go on.
    """
    given, out = checked(paths), tables.checked(settings.out)
    if settings.labels and settings.several:
        raise ScoreError("--labels are those of pictures with one digit; leave out --labels or --several")
    known = labels(settings.labels) if settings.labels else None
    path = out.with_name(f"{out.name}.journal")
    if settings.overwrite:
        Journal(path).remove()
    elif out.exists() and not path.exists():
        raise ScoreError(f"{out} exists; give another --out, or replace it with --overwrite")
    sources = Sources(given, map(os.path.realpath, _own(settings, out, path)), settings, _say)
    with Journal(path) as journal:
        with _kept(journal, settings):
            began = time.monotonic()
            new = _fill(journal, sources, settings)
            seconds = time.monotonic() - began
            summary = _write_table(journal, out, settings, known)
            uncertain = journal.uncertain()
            if settings.contact_sheet:
                contact_sheet.draw(settings.contact_sheet, uncertain)
            done()
        journal.remove()
    held = summary.inputs - new
    again = f" ({held:,} were there already)" if held else ""
    say(f"{one_line(out)}: {summary.rows:,} rows{again}, {new / seconds:,.0f} a second")
    for line in summary.lines(uncertain):
        say(line)
    for start, line in zip(chain(["skipped"], repeat("")), sources.skipped.lines(), strict=False):
        say(f"{start:<12}{line}")
    return summary.failed + sources.skipped.total


def _own(settings: ScoreSettings, out: Path, journal: Path) -> Iterator[str | Path]:
    """The files that this scoring itself writes or reads: in a folder of pictures they are not inputs."""
    yield from journal_files(journal)
    for written in filter(None, (out, settings.contact_sheet)):
        yield from (written, unfinished(written))
    if settings.labels and not settings.labels.lower().endswith(".npz"):  # which may have images too
        yield os.path.expanduser(settings.labels)


def _fill(journal: Journal, sources: Sources, settings: ScoreSettings) -> int:
    """Brings the journal to the end of the inputs. Gives how many it did not hold: only these are timed."""
    precision: Any = settings.precision
    if precision == "auto":  # for a journal that was begun, the precision of its rows
        precision = journal.facts.get("precision", "auto")
    with classifiers.opened(settings, precision, _say) as classifier:
        _begin(journal, settings, classifier)
        with _engine(settings, classifier) as engine:
            total = sources.count() if sys.stderr.isatty() else None
            chunks = _new(journal, sources.chunks())
            first = list(islice(chunks, 1))
            held = journal.inputs
            with tqdm(
                total=total, initial=held, unit="digit", unit_scale=True, disable=None, dynamic_ncols=True
            ) as bar:
                for scored in engine(chain(first, chunks)):
                    journal.add(scored)
                    bar.update(len(scored.inputs))
            return journal.inputs - held


def _say(line: str) -> None:
    """A line on stderr, above the progress bar."""
    tqdm.write(f"digits: {line}", sys.stderr)


@contextlib.contextmanager
def _kept(journal: Journal, settings: ScoreSettings) -> Iterator[None]:
    """Adds to an error, also to an interrupt, how many rows are kept."""
    try:
        yield
    except BaseException as error:
        if inputs := journal.inputs:
            what = f"the rows of {inputs:,} pictures" if settings.several else f"{inputs:,} rows"
            kept = f"{what} are kept; the same command goes on from there"
            if isinstance(error, Exception):
                _say(kept)
            else:
                error.add_note(kept)  # an interrupt is one line
        raise


def _begin(journal: Journal, settings: ScoreSettings, classifier: Classifier) -> None:
    """Writes down what all rows have in common. Raises ScoreError if the rows in the journal have something else."""
    facts = {name: str(getattr(settings, name)) for name in ROW_SETTINGS} | classifiers.facts(classifier)
    facts["preprocessing version"] = str(PREPROCESSING_VERSION)
    begun = journal.facts
    changed = [name for name, fact in facts.items() if begun.get(name) != fact]
    if journal.inputs and changed:
        what = ", ".join(f"{name} was {begun.get(name)!r} and is {facts[name]!r}" for name in changed)
        raise ScoreError(f"the table was begun with other settings: {what}; use those, or start again with --overwrite")
    journal.begin(facts)


def _engine(settings: ScoreSettings, classifier: Classifier) -> AbstractContextManager[Engine]:
    if settings.engine == "ray":
        from digits.score.cluster import ray_engine

        return ray_engine(settings, classifier)
    return local_engine(settings, classifier)


def _new(journal: Journal, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The chunks that the journal does not hold. From the first input that has changed on, it forgets all rows."""
    start, done = 0, journal.inputs
    for chunk in chunks:
        if start < done:
            if journal.holds(start, chunk):
                start += len(chunk)
                continue
            _say(f"the inputs have changed from row {start + 1:,} on; these rows are scored again")
            journal.truncate(start)
            done = start
        yield chunk
    if start < done:
        journal.truncate(start)


def _write_table(journal: Journal, out: Path, settings: ScoreSettings, known: Labels | None) -> Summary:
    summary = Summary()

    def labelled() -> Iterator[tuple[Scored, list[int | None]]]:
        for scored in journal.chunks():
            found = [known.of(row, path) for row, path in enumerate(scored.chunk.paths, summary.rows)] if known else []
            summary.add(scored, found)
            yield scored, found
        if known and summary.rows and not summary.labelled:
            row = next(journal.chunks()).chunk.paths[0]
            raise ScoreError(f"--labels {settings.labels}: no row has a label: {known.example} has one, a row is {row}")

    tables.write(out, tables.Columns(settings.probabilities, known is not None, settings.several), labelled())
    return summary
