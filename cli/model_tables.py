"""Tables of a repository: its versions, one version, the differences between two."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from digits.export.evidence import acceptance_table
from digits.model.errors import RepositoryError
from digits.model.manifest import FP32
from digits.report.table import Table
from digits.storage.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from digits.model.manifest import NoveltyThreshold
    from digits.model.repository import ModelVersion, Repository

LIST_HEAD = ("version", "created", "accuracy", "test images", "reference", "variants", "size", "state")
UNTOLD = ("training.epochs", "created", "training.finished")  # a value for each epoch; times


def list_table(repository: Repository) -> str:
    """One line for each version, oldest first, and for each withdrawn version."""
    versions = repository.versions()
    if not versions:
        repository.open()  # says so
    rows = [_row(repository, number, "newest" if number == versions[-1] else "") for number in versions]
    rows += [[str(number), *[""] * (len(LIST_HEAD) - 2), "withdrawn"] for number in repository.withdrawn()]
    return Table(LIST_HEAD, rows, 0).text()


def _row(repository: Repository, number: int, state: str) -> list[str]:
    try:
        manifest = repository.open(number).manifest
    except RepositoryError as error:
        return [str(number), *[""] * (len(LIST_HEAD) - 2), one_line(str(error).removeprefix(f"{repository.folder}/"))]
    size = sum(variant.size_bytes for variant in manifest.variants.values())
    return [
        str(number),
        manifest.created.removesuffix("+00:00").replace("T", " "),
        f"{manifest.variants[FP32].accuracy:.2%}",
        f"{manifest.test_images:,}",
        manifest.reference,
        ", ".join(manifest.variants),
        f"{size / 1e6:.2f} MB",
        state,
    ]


def show_table(model: ModelVersion) -> str:
    """All facts about a version, except the values of each epoch."""
    manifest = model.manifest
    machine, versions = manifest.provenance["machine"], manifest.provenance["versions"]
    facts = {
        "version": f"{model.number}, {one_line(model.folder)}",
        "created": manifest.created,
        "from": f"{manifest.reference}, SHA-256 {manifest.reference_sha256}",
        "test set": f"{manifest.test_source}, SHA-256 {manifest.test_sha256}",
        **_training(manifest.training),
        "machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "limits": ", ".join(f"{name} {limit:g}" for name, limit in manifest.limits.items()),
        "novelty": _novelty(manifest.novelty),
        **{name: f"{variant.file}, {variant.made}" for name, variant in manifest.variants.items()},
        **{f"no {name}": why for name, why in manifest.left_out.items()},
    }
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {value}" for name, value in facts.items()]
    table = acceptance_table(manifest.reference, manifest.variants, manifest.baselines, manifest.test_images)
    return "\n".join([*lines, "", table])


def _novelty(found: NoveltyThreshold | None) -> str:
    if found is None:
        return "none"
    return f"not a digit above {found.threshold:.4g}, as are {found.rejected:.2%} of {found.images:,} validation digits"


def _training(report: dict[str, Any]) -> dict[str, str]:
    if not report:
        return {}
    settings = ", ".join(f"{name} {_short(value)}" for name, value in report["settings"].items() if value)
    images = report["data"]["images"]
    return {
        "trained on": f"{report['data']['source']}, {images['train']:,} images, {report['training_seconds']:.0f} s",
        "settings": settings,
    }


def diff_table(first: ModelVersion, second: ModelVersion) -> str:
    """One line for each value that differs between two manifests."""
    one, other = (dict(_leaves(asdict(model.manifest))) for model in (first, second))
    rows = [
        [name, _short(one.get(name, "-")), _short(other.get(name, "-"))]
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name) and not name.startswith(UNTOLD)
    ]
    if not rows:
        return f"versions {first.number} and {second.number} have the same manifest"
    return Table(["", f"version {first.number}", f"version {second.number}"], rows, 1).text()


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every value in nested dictionaries, by its dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 48 else f"{text[:45]}..."  # noqa: PLR2004 a SHA-256 says enough by its start
