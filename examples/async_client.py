"""Classifies picture files, a call for each and all at once: the server makes batches of what comes together.

pip install .
python examples/async_client.py localhost:50051 digit.png another.jpg
"""

import asyncio
import sys

from digits.client import AsyncClient


async def main(address: str, *paths: str) -> None:
    async with AsyncClient(address) as client:
        answers = await asyncio.gather(*map(client.classify, paths))
    for answer, path in zip(answers, paths, strict=True):
        print(f"{answer.digits[0]}  {answer.confidences[0]:7.2%}  {path}")


asyncio.run(main(*sys.argv[1:]))
