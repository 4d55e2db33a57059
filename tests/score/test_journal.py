"""A table is never a mixture: all its rows have the same model, preprocessing and settings."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from digits.images.version import PREPROCESSING_VERSION
from digits.score import scoring
from digits.score.errors import ScoreError
from digits.score.journal import Journal
from digits.score.settings import ROW_SETTINGS, ScoreSettings


def score(*paths: object, out: Path, **settings: Any) -> list[str]:
    """Scores in this process; gives the lines of the summary."""
    said: list[str] = []
    chosen: dict[str, Any] = {"precision": "fp32", "processes": 1} | settings
    scoring.score(map(str, paths), ScoreSettings(out=out, **chosen), said.append)
    return said


def begin(*paths: object, out: Path, **settings: Any) -> None:
    """Leaves a journal with all rows and no table, since labels were given that fit no row."""
    labels = out.with_name("wrong.csv")
    labels.write_text("path,label\nnowhere/a.png,3\n")
    with pytest.raises(ScoreError, match="no row has a label: nowhere"):
        score(*paths, out=out, labels=str(labels), **settings)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"probabilities": True}, "probabilities was 'False' and is 'True'"),
        ({"several": True}, "several was 'False' and is 'True'"),
        ({"invert": True}, "invert was 'False' and is 'True'"),
        ({"pixel_range": "0-1"}, "pixel_range was 'auto' and is '0-1'"),
        (
            {"models": None},
            r"version was '1' and is '\d+', SHA-256 of the model was '[0-9a-f]{64}' and is '[0-9a-f]{64}'",
        ),
    ],
)
def test_a_table_is_not_ended_by_other_settings_than_it_was_begun_by(
    folders: Path, models: Path, tmp_path: Path, changed: dict[str, Any], what: str
) -> None:
    """A model of the same version and precision, from another repository, is another model."""
    out = tmp_path / "table.csv"
    begin(folders / "4", out=out, models=models)
    with pytest.raises(ScoreError, match=f"^the table was begun with other settings: {what}; use those, or start"):
        score(folders / "4", out=out, **({"models": models} | changed))
    assert " were there already), 0 a second" in score(folders / "4", out=out, models=models, precision="auto")[0]


def test_a_table_is_not_ended_by_another_version_of_the_preprocessing(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    begin(folders / "4", out=out)
    with Journal(tmp_path / "table.csv.journal") as journal:
        assert journal.facts["preprocessing version"] == str(PREPROCESSING_VERSION)
        journal.begin(journal.facts | {"preprocessing version": "0"})
    with pytest.raises(ScoreError, match=f"preprocessing version was '0' and is '{PREPROCESSING_VERSION}'; use those"):
        score(folders / "4", out=out)


def test_every_setting_either_changes_rows_or_is_known_not_to() -> None:
    """A setting that changes a row belongs into ROW_SETTINGS. The model is compared by itself; labels come later."""
    model = {"server", "models", "precision"}
    elsewhere = {"out", "overwrite", "labels", "contact_sheet", "strict", "timeout", "patience"}
    speed = {"processes", "engine", "ray_address"}
    assert {field.name for field in fields(ScoreSettings)} - {*ROW_SETTINGS} == model | elsewhere | speed
