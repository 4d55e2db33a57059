"""The model that is served, in the Open Inference Protocol's terms: its name, its version, and its tensors."""

from dataclasses import dataclass

from digits.model.runtime import CPU
from digits.serve.errors import NotFound

INPUT = "pixels"
# By datatype: the field of its typed contents (FP16 has none), and numpy's name of a raw element.
ELEMENTS = {
    "UINT8": ("uint_contents", "u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
    "INT8": ("int_contents", "i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "BOOL": ("bool_contents", "?"),
    "FP16": ("", "<f2"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
}
LONGEST_QUOTE = 100


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of the model's answers, [n, columns]."""

    name: str  # its name
    datatype: str  # UINT8 or FP32
    columns: int  # how many elements a row has
    source: str  # the attribute of Answers that has its bytes
    labels: tuple[str, ...] = ()  # what its columns mean, if that is more than their number
    classes: int = 0  # how many classes of each row a caller wants instead of the elements; 0 for the elements

    @property
    def row_bytes(self) -> int:
        return self.columns * (4 if self.datatype == "FP32" else 1)


@dataclass(frozen=True, slots=True, eq=False)
class ModelInfo:
    """One version of one model: its names in the repository, and what runs it. Hashed by identity, for caches."""

    name: str
    version: str
    labels: tuple[str, ...] = tuple("0123456789")  # what each column of the probabilities means
    precision: str = "fp32"  # the variant that runs, such as int8
    provider: str = CPU  # ONNX Runtime's execution provider that runs it
    file: str = "model.onnx"  # the variant's file in the version's folder
    has_novelty: bool = False  # whether it has the output `novelty`

    @property
    def outputs(self) -> tuple[Output, ...]:
        """In the order in which they come when none is asked for."""
        outputs = (
            Output("probabilities", "FP32", len(self.labels), "probabilities", self.labels),
            Output("digit", "UINT8", 1, "digits"),
            Output("confidence", "FP32", 1, "confidences"),
        )
        return (*outputs, Output("novelty", "FP32", 1, "novelties")) if self.has_novelty else outputs

    def require(self, name: str, version: str) -> None:
        """Raises NotFound unless this is the model, and the version if one is named."""
        if name != self.name:
            raise NotFound(f"Request for unknown model: {quoted(name)} is not found; there is {quoted(self.name)}")
        if version not in {"", self.version}:
            raise NotFound(
                f"Request for unknown model: {quoted(name)} version {quoted(version)} is not found; "
                f"there is version {quoted(self.version)}"
            )


def shortened(text: str) -> str:
    """A caller's text for an error message, which gRPC limits in length."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


def quoted(text: str) -> str:
    return f"'{shortened(text)}'"
