"""The Keras model as an ONNX graph: pixels uint8 [batch, 28, 28] to probabilities float32 [batch, 10]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
import tensorflow as tf
import tf2onnx

from digits.model.engine import INPUT, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Mapping

OPSET = 18


def to_onnx(model: Any, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Converts a Keras model of flattened digits, with the division by 255 inside the graph.

    Goes through a tf.function, since tf2onnx's `from_keras` fails on Keras 3 (tensorflow-onnx#2448), and since the
    preprocessing can live in the graph that way.

    Args:
        model: Takes float32 [n, 784] in 0 to 1, gives probabilities float32 [n, 10].
        metadata: For the file's `metadata_props`. The same model and metadata give the same bytes.

    Returns:
        A graph of opset 18 that has passed `onnx.checker`'s full check.
    """

    @tf.function(  # type: ignore[untyped-decorator] # tensorflow is untyped
        input_signature=[tf.TensorSpec((None, 28, 28), tf.uint8, name=INPUT)]
    )
    def classify(pixels: Any) -> dict[str, Any]:
        rows = tf.reshape(tf.cast(pixels, tf.float32) / 255.0, (-1, 784))
        return {OUTPUT: model(rows, training=False)}

    graph, _ = tf2onnx.convert.from_function(classify, classify.input_signature, opset=OPSET)
    for tensor in (*graph.graph.input, *graph.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.graph.value_info[:]  # inferred shapes, which name the batch dimension otherwise
    onnx.helper.set_model_props(graph, dict(metadata))
    onnx.checker.check_model(graph, full_check=True)
    return graph  # type: ignore[no-any-return] # tf2onnx is untyped
