"""Classifies any number of picture files, and prints each answer when it and those before it are there.

pip install digits
python examples/streaming.py localhost:50051 pictures/*.png
"""

import sys

from digits.client import Client

address, *paths = sys.argv[1:]

# The stream draws items as it needs them, a window ahead: an iterator without an end would do as well.
with Client(address) as client:
    answers = client.stream(
        paths, return_exceptions=True
    )  # without it, the first picture that is none would end it all
    for path, answer in zip(paths, answers, strict=True):
        if isinstance(answer, Exception):
            print(f"-           {answer}")
        else:
            print(f"{answer.digits[0]}  {answer.confidences[0]:7.2%}  {path}")
