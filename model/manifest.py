"""The manifest: what a published version is made of, and the evidence that it was published with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from digits.model.errors import RepositoryError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 2
FP32 = "fp32"  # the variant that every version has
INT8 = "int8"  # for the CPU
FP16 = "fp16"  # for CUDA
Precision = Literal["auto", "fp32", "int8", "fp16"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of one variant on the whole test set before it was published.

    Attributes:
        file: The ONNX file's name in the version's folder.
        made: How it was made of the reference.
        size_bytes: Its size.
        accuracy: Share of test images classified correctly, 0 to 1.
        max_abs_diff: Largest |probability - the reference's probability|.
        mean_abs_diff: Mean of the same.
        argmax_agreement: Share of test images with the reference's own most probable digit, 0 to 1.
        batch_invariant: Whether an image's answer is the same, bit for bit, in batches of 1, 7, 64 and 513 images,
            of the first 513.
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
class Manifest:
    """All that is known of a version.

    Attributes:
        name: The model's name.
        created: When it was published, ISO 8601, UTC.
        labels: What each column of the probabilities means.
        reference: What was exported, and what all variants were held against: `Keras`, or a foreign ONNX file.
        reference_sha256: SHA-256 of its file.
        test_source: Where the test set came from.
        test_sha256: SHA-256 of its pixels and labels.
        test_images: How many images it holds.
        limits: What the variants had to keep to (`digits.model.limits.Limits`).
        variants: Evidence by variant, such as `fp32`.
        left_out: The variants that could not be made or did not keep to it, and why.
        baselines: Seconds per image by batch size of other ways to run the same model, measured beside the variants.
        training: The training run's own report, without the places on its machine; empty for a foreign model.
        provenance: Machine and versions of the export.
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

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Raises RepositoryError if the file is not a manifest of this schema."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            schema = fields.pop("schema")
            if schema != SCHEMA:
                raise RepositoryError(f"{path}: manifest schema {schema}; this program reads {SCHEMA}")
            variants = {name: Evidence(**evidence) for name, evidence in fields.pop("variants").items()}
            manifest = cls(variants=variants, **fields)
            manifest._check()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RepositoryError(f"{path}: not a manifest ({type(error).__name__}: {error})") from error
        return manifest

    def _check(self) -> None:
        """Raises ValueError if a value is none that its name promises."""
        if FP32 not in self.variants:
            raise ValueError(f"no {FP32}")
        tables = (self.limits, self.left_out, self.baselines, self.training, self.provenance)
        times = [found.seconds_per_image for found in self.variants.values()]
        if not all(isinstance(table, dict) for table in (*tables, *times, *self.baselines.values())):
            raise ValueError("a table is none")
        for found in self.variants.values():
            numbers = (found.size_bytes, found.accuracy, found.max_abs_diff, found.mean_abs_diff)
            if not all(isinstance(number, int | float) for number in (*numbers, found.argmax_agreement)):
                raise ValueError("a number is none")
            if "/" in found.file:
                raise ValueError(f"{found.file} is not in the version's folder")
