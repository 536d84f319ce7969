"""Waiting for a condition, with a deadline; never for a time."""

import time

DEFAULT_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.02


def wait_for(condition, timeout=DEFAULT_TIMEOUT_S, describe="the condition"):
    """Calls `condition` until what it returns is true, and returns that.

    `describe` is text, or a function that tells how things stand now; it is called only on failure.
    """
    deadline = time.monotonic() + timeout
    while True:
        outcome = condition()
        if outcome:
            return outcome
        if time.monotonic() >= deadline:
            told = describe() if callable(describe) else describe
            raise AssertionError(f"waited {timeout:g} s in vain for: {told}")
        time.sleep(POLL_INTERVAL_S)
