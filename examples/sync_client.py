"""Classifies picture files, in one call.

pip install .
python examples/sync_client.py localhost:50051 digit.png another.jpg
"""

import sys

from digits.client import Client

address, *paths = sys.argv[1:]

with Client(address) as client:  # safe to share between threads
    predictions = client.classify(paths)  # or a path, bytes, a numpy array uint8 [28, 28] or [n, 28, 28], or a list

for digit, confidence, path in zip(predictions.digits, predictions.confidences, paths, strict=True):
    print(f"{digit}  {confidence:7.2%}  {path}")
