"""The manifest: what a published version consists of, and what was measured of it before it was published."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from digits.model.errors import RepositoryError
from digits.storage.json_file import write_json

SCHEMA = 2
FP32 = "fp32"  # every version has this variant
INT8 = "int8"  # for the CPU
FP16 = "fp16"  # for CUDA
OBJECTS = ("limits", "left_out", "baselines", "training", "provenance")
NUMBERS = ("size_bytes", "accuracy", "max_abs_diff", "mean_abs_diff", "argmax_agreement")
CpuPrecision = Literal["auto", "fp32", "int8"]
Precision = Literal[CpuPrecision, "fp16"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of one variant on the whole test set before it was published.

    Attributes:
        file: The ONNX file's name in the version's folder.
        made: How it was made from the reference, for people.
        size_bytes: Its size.
        accuracy: Share of test images classified correctly, 0 to 1.
        max_abs_diff: Largest |probability - the reference's probability|.
        mean_abs_diff: Mean of the same.
        argmax_agreement: Share of test images with the reference's own most probable digit, 0 to 1.
        batch_invariant: Whether the answers to the first 513 images are the same, bit for bit, in batches of 1, 7, 64
            and 513.
        seconds_per_image: By batch size, on the CPU with one thread.
    """

    file: str
    made: str
    size_bytes: int
    accuracy: float
    max_abs_diff: float
    mean_abs_diff: float
    argmax_agreement: float
    batch_invariant: bool
    seconds_per_image: dict[str, float]


@dataclass(frozen=True, slots=True)
class NoveltyThreshold:
    """The novelty above which an image does not show a digit.

    Attributes:
        threshold: A float32's value.
        rejected: Share of the validation digits above it, 0 to 1.
        images: How many validation digits it was chosen on.
    """

    threshold: float
    rejected: float
    images: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known about a version.

    Attributes:
        name: The model's name.
        created: When it was published, ISO 8601, UTC.
        labels: What each column of the probabilities means.
        reference: What was exported, and what all variants were compared with: `Keras`, or the imported model's name.
        reference_sha256: SHA-256 of its file.
        test_source: Where the test set came from.
        test_sha256: SHA-256 of its pixels and labels.
        test_images: How many images it holds.
        limits: The limits of the acceptance checks (`digits.model.limits.Limits`).
        variants: Evidence by variant, such as `fp32`.
        left_out: The variants that could not be made or did not pass the checks, and why.
        baselines: Seconds per image by batch size of other ways to run the same model, measured in turn with them.
        training: The training run's report, without paths of its machine; empty for an imported model.
        provenance: Machine and versions of the export.
        novelty: What the output `novelty` is compared with; None for a model without this output.
    """

    name: str
    created: str
    labels: list[str]
    reference: str
    reference_sha256: str
    test_source: str
    test_sha256: str
    test_images: int
    limits: dict[str, float]
    variants: dict[str, Evidence]
    left_out: dict[str, str]
    baselines: dict[str, dict[str, float]]
    training: dict[str, Any]
    provenance: dict[str, Any]
    novelty: NoveltyThreshold | None = None

    def write(self, path: Path) -> None:
        write_json(path, {"schema": SCHEMA, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises RepositoryError if the file is not a manifest of this schema."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            schema = fields.pop("schema")
            if schema != SCHEMA:
                raise RepositoryError(f"{path}: manifest schema {schema}; this program reads {SCHEMA}")
            variants = {name: Evidence(**evidence) for name, evidence in fields.pop("variants").items()}
            found = fields.pop("novelty", None)
            novelty = None if found is None else NoveltyThreshold(**found)
            manifest = cls(variants=variants, novelty=novelty, **fields)
            if fault := next(manifest._faults(), None):
                raise ValueError(fault)  # noqa: TRY301 - as an error of the same file
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RepositoryError(f"{path}: not a manifest ({type(error).__name__}: {error})") from error
        return manifest

    def _faults(self) -> Iterator[str]:
        """The fields that have another type than they promise."""
        if FP32 not in self.variants:
            yield f"expected a variant {FP32}"
        if self.novelty is not None and not isinstance(self.novelty.threshold, int | float):
            yield "expected a number for novelty.threshold"
        objects = {name: getattr(self, name) for name in OBJECTS}
        objects |= {f"baselines.{name}": times for name, times in dict(self.baselines).items()}
        for variant, found in self.variants.items():
            objects[f"variants.{variant}.seconds_per_image"] = found.seconds_per_image
            for name in NUMBERS:
                if not isinstance(getattr(found, name), int | float):
                    yield f"expected a number for variants.{variant}.{name}"
            if "/" in found.file:
                yield f"{found.file} is not in the version's folder"
        yield from (f"expected an object for {name}" for name, value in objects.items() if not isinstance(value, dict))
