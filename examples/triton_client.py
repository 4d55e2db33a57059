"""Classifies picture files by the Open Inference Protocol: what asks Triton or KServe may ask digits.

pip install . 'tritonclient[grpc]'
python examples/triton_client.py localhost:50051 digit.png another.jpg
"""

import sys

import numpy as np
import tritonclient.grpc as triton

from digits.images import picture

address, *paths = sys.argv[1:]
pixels = np.stack([picture.read(path) for path in paths])  # uint8 [n, 28, 28]

image = triton.InferInput("pixels", list(pixels.shape), "UINT8").set_data_from_numpy(pixels)
with triton.InferenceServerClient(address) as client:
    answer = client.infer("digits", [image])

for digit, confidence, path in zip(answer.as_numpy("digit"), answer.as_numpy("confidence"), paths, strict=True):
    print(f"{digit.item()}  {confidence.item():7.2%}  {path}")
