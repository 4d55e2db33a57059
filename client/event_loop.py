"""A task and its event loop: slow work goes to a thread, and a cancellation is told from a channel that was closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from digits.client.pixels import pixels_of

if TYPE_CHECKING:
    from digits.client.pixels import Images, Pixels
    from digits.images.arrays import PixelRange


async def off_the_loop(images: Images, pixel_range: PixelRange) -> Pixels:
    """As `pixels_of`; what may be slow is done in a thread."""
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        return pixels_of(images)
    return await asyncio.to_thread(pixels_of, images, pixel_range)
