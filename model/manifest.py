"""The manifest: what a published version consists of, and what was measured of it before it was published."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, get_origin

from digits.model.errors import RepositoryError
from digits.storage.json_file import write_json

SCHEMA = 2
FP32 = "fp32"  # every version has this variant
INT8 = "int8"  # for the CPU
FP16 = "fp16"  # for CUDA
CpuPrecision = Literal["auto", "fp32", "int8"]
Precision = Literal[CpuPrecision, "fp16"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of one variant on the whole test set before it was published."""

    file: str  # the ONNX file's name in the version's folder
    made: str  # how it was made from the reference, for people
    size_bytes: int  # its size
    accuracy: float  # share of test images classified correctly, 0 to 1
    max_abs_diff: float  # largest |probability - the reference's probability|
    mean_abs_diff: float  # mean of the same
    argmax_agreement: float  # share of test images with the reference's own most probable digit, 0 to 1
    batch_invariant: bool  # whether 513 answers are the same, bit for bit, in batches of 1, 7, 64 and 513
    seconds_per_image: dict[str, float]  # by batch size, on the CPU with one thread


@dataclass(frozen=True, slots=True)
class NoveltyThreshold:
    """The novelty above which an image does not show a digit."""

    threshold: float  # a float32's value
    rejected: float  # share of the validation digits above it, 0 to 1
    images: int  # how many validation digits it was chosen on


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known about a version."""

    name: str  # the model's name
    created: str  # when it was published, ISO 8601, UTC
    labels: list[str]  # what each column of the probabilities means
    reference: str  # what was exported, and what all variants were compared with: `Keras`, or the imported model's name
    reference_sha256: str  # SHA-256 of its file
    test_source: str  # where the test set came from
    test_sha256: str  # SHA-256 of its pixels and labels
    test_images: int  # how many images it holds
    limits: dict[str, float]  # the limits of the acceptance checks (`digits.model.limits.Limits`)
    variants: dict[str, Evidence]  # evidence by variant, such as `fp32`
    left_out: dict[str, str]  # the variants that could not be made or did not pass the checks, and why
    baselines: dict[str, dict[str, float]]  # other ways to run the model: seconds per image by batch size
    training: dict[str, Any]  # the training run's report, without paths of its machine; empty for an imported model
    provenance: dict[str, Any]  # machine and versions of the export
    novelty: NoveltyThreshold | None = None  # for the output `novelty`; None for a model without it

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
        records: dict[str, Any] = {"": self} | {f"variants.{name}.": found for name, found in self.variants.items()}
        for prefix, record in (records | ({"novelty.": self.novelty} if self.novelty else {})).items():
            for each in fields(record):
                value, where = getattr(record, each.name), f"{prefix}{each.name}"
                if each.type in {int, float} and not isinstance(value, int | float):
                    yield f"expected a number for {where}"
                if get_origin(each.type) is dict and not isinstance(value, dict):
                    yield f"expected an object for {where}"
        for name, times in self.baselines.items():
            if not isinstance(times, dict):
                yield f"expected an object for baselines.{name}"
        yield from (f"{one.file} is not in the version's folder" for one in self.variants.values() if "/" in one.file)
