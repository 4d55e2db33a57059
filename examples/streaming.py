"""Classifies any number of picture files, and prints each answer when it and those before it are there.

pip install .
python examples/streaming.py localhost:50051 pictures/*.png
"""

import sys

from digits.client import Client

address, *paths = sys.argv[1:]

# The stream draws items as it needs them, a window ahead: an endless iterator works as well. Without
# return_exceptions, the first file that is not a picture would end the loop.
with Client(address) as client:
    answers = client.stream(paths, return_exceptions=True)
    for path, answer in zip(paths, answers, strict=True):
        if isinstance(answer, Exception):
            print(f"-           {answer}")
        else:
            print(f"{answer.digits[0]}  {answer.confidences[0]:7.2%}  {path}")
