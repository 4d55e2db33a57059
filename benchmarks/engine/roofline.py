"""The roofline model: how fast a network can run at most, by the machine's peaks and the work of a batch.

S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures",
Communications of the ACM 52 (4), 2009.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from digits.export.dense_layers import dense_layers
from digits.export.imported_model import read_onnx
from digits.export.settings import ImportSettings
from digits.model.manifest import FP16, FP32, INT8
from digits.model.repository import ModelVersion

MULTIPLY, MEMORY, CACHE = "multiply", "memory", "cache"
NUMBER = {FP32: 4, FP16: 2, INT8: 1}  # bytes of a weight or an activation


@dataclass(frozen=True, slots=True)
class Work:
    """What a network of dense layers has to do.

    Attributes:
        parameters: Weights and biases.
        widths: Of its layers, from the 784 pixels to the ten digits.
    """

    parameters: int
    widths: tuple[int, ...]

    def flop(self, batch: int) -> int:
        """Two for each parameter and image: to multiply and to add."""
        return 2 * self.parameters * batch

    def bytes(self, batch: int, number: int) -> int:
        """Read or written: the weights once a batch; of each image the pixels, and what each layer writes and reads.

        Args:
            batch: Images in it.
            number: Bytes of a weight or an activation.
        """
        *between, answer = self.widths
        return self.parameters * number + batch * (self.widths[0] + 2 * number * sum(between) + 4 * answer)


def work_of(version: ModelVersion) -> Work:
    """Raises ExportError if the fp32 graph has other layers than dense ones."""
    layers = dense_layers(read_onnx(version.file(FP32), ImportSettings()).core)
    parameters = sum(layer.weights.size + layer.bias.size for layer in layers)
    return Work(parameters, (layers[0].weights.shape[0], *(len(layer.bias) for layer in layers)))


def roofline(work: Work, rates: Mapping[str, Mapping[tuple[int, int], float]], peaks: Mapping[int, Any]) -> Any:
    """The roofline as the JSON holds it.

    Args:
        work: The network's.
        rates: Images a second, by system, and by batch size and threads.
        peaks: By threads: FLOP or bytes a second of each peak.

    Returns:
        `parameters`, `widths`, `roofs` by threads, and `points`: each with its system, batch, threads, `intensity`
        (FLOP a byte), `flops` (FLOP a second) and, of fp32, its `share` of the roof. The roof is the lower one of the
        peak of float32 multiplication, and of the arithmetic on weights that are read at the peak of the cache.
    """
    points = [_point(work, name, load, rate, peaks) for name, of in rates.items() for load, rate in of.items()]
    roofs = {str(threads): dict(found) for threads, found in peaks.items()}
    return {"parameters": work.parameters, "widths": list(work.widths), "roofs": roofs, "points": points}


def roof(intensity: float, peaks: Mapping[str, float], memory: str = CACHE) -> float:
    """FLOP a second that can be reached at most, with so many FLOP for each byte read from cache or memory."""
    return min(peaks[MULTIPLY], intensity * peaks[memory])


def _point(work: Work, name: str, load: tuple[int, int], rate: float, peaks: Mapping[int, Any]) -> dict[str, Any]:
    batch, threads = load
    intensity = work.flop(batch) / work.bytes(batch, NUMBER.get(name, 4))
    flops = rate * work.flop(1)
    point = {"system": name, "batch": batch, "threads": threads, "intensity": intensity, "flops": flops}
    return point | ({"share": flops / roof(intensity, peaks[threads])} if name == FP32 else {})
