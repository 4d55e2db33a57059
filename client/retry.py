"""How long to wait before a call is retried that no server took. gRPC itself does not retry: there is one loop."""

import random
import threading
import time

FIRST, LONGEST = 0.05, 1.0  # seconds between two tries, doubled from one to the next
TOKENS = 100.0  # retries that all calls of a client may make at once
TOKENS_PER_SECOND = 20.0


def backoff(tries: int) -> float:
    """Seconds to wait after so many tries that failed in a row. Half of it is random, so that callers spread."""
    return min(LONGEST, FIRST * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1)  # noqa: S311 not a secret


class RetryBudget:
    """Bounds the retries of all calls of one client, so that many callers do not flood a server: a token bucket.

    Time fills it, faster than one caller empties it, and so does each answer. A caller who finds it empty waits on.
    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = TOKENS
        self._filled = time.monotonic()

    def take(self, now: float) -> bool:
        """Whether a call may be retried at that time, by the monotonic clock."""
        with self._lock:
            self._tokens = min(TOKENS, self._tokens + TOKENS_PER_SECOND * (now - self._filled))
            self._filled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def give(self) -> None:
        """A call was answered."""
        if self._tokens < TOKENS:
            with self._lock:
                self._tokens = min(TOKENS, self._tokens + 1)
