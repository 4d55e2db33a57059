"""The roofline model: how fast a network can run at most, by the machine's peaks and the work of a batch.

S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures",
Communications of the ACM 52 (4), 2009.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from digits.benchmarks.section import Row, median_of
from digits.export.dense_layers import dense_layers
from digits.export.imported_model import read_onnx
from digits.export.settings import ImportSettings
from digits.model.manifest import FP16, FP32, INT8
from digits.model.repository import ModelVersion

MULTIPLY, MEMORY, CACHE = "multiply", "memory", "cache"
NUMBER = {FP32: 4, FP16: 2, INT8: 1}  # bytes of a weight or an activation


class Work(NamedTuple):
    """What a network of dense layers has to do."""

    parameters: int  # weights and biases
    widths: tuple[int, ...]  # of its layers, from the 784 pixels to the ten digits

    def flop(self, batch: int) -> int:
        """Two for each parameter and image: to multiply and to add."""
        return 2 * self.parameters * batch

    def bytes(self, batch: int, number: int) -> int:
        """Read or written: the weights once a batch; of each image the pixels, and what each layer writes and reads.

        A weight or an activation has `number` bytes.
        """
        *between, answer = self.widths
        return self.parameters * number + batch * (self.widths[0] + 2 * number * sum(between) + 4 * answer)


def work_of(version: ModelVersion) -> Work:
    """Raises ExportError if the fp32 graph has other layers than dense ones."""
    layers = dense_layers(read_onnx(version.file(FP32), ImportSettings()).core)
    parameters = sum(layer.weights.size + layer.bias.size for layer in layers)
    return Work(parameters, (layers[0].weights.shape[0], *(len(layer.bias) for layer in layers)))


def roofline(work: Work, rows: Sequence[Row]) -> dict[str, Any]:
    """The roofline as the JSON holds it, from the JSON's measurements of the systems and of the machine's peaks.

    Returns:
        `parameters`, `widths`, `roofs` by threads, and `points`: each with its system, batch, threads, `intensity`
        (FLOP a byte), `flops` (FLOP a second) and, of fp32, its `share` of the roof. The roof is the lower one of the
        peak of float32 multiplication, and of the arithmetic on weights that are read at the peak of the cache.
    """
    roofs: dict[str, dict[str, float]] = {}
    for row in rows:
        if peak := row["load"].get("peak"):
            rate = "flop_per_second" if "flop" in row["load"] else "bytes_per_second"
            roofs.setdefault(str(row["load"]["threads"]), {})[peak] = max(one[rate] for one in row["repeats"])
    points = []
    for row in rows:
        if batch := row["load"].get("batch"):
            intensity = work.flop(batch) / work.bytes(batch, NUMBER.get(row["system"], 4))
            flops = median_of(row["repeats"], "images_per_second") * work.flop(1)
            points.append({"system": row["system"], **row["load"], "intensity": intensity, "flops": flops})
            if row["system"] == FP32:
                points[-1]["share"] = flops / roof(intensity, roofs[str(row["load"]["threads"])])
    return {"parameters": work.parameters, "widths": list(work.widths), "roofs": roofs, "points": points}


def roof(intensity: float, peaks: Mapping[str, float], memory: str = CACHE) -> float:
    """FLOP a second that can be reached at most, with so many FLOP for each byte read from cache or memory."""
    return min(peaks[MULTIPLY], intensity * peaks[memory])
