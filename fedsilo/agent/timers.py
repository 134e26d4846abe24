"""Intervals of the agent's loop."""

from fedsilo import runtime


class Timer:
    """Tells whether an interval has passed since it was last restarted. The interval of a new timer has passed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._restarted = float("-inf")

    @property
    def remaining(self) -> float:
        """Seconds until the interval has passed; 0 from then on."""
        return max(0.0, self._restarted + self._seconds - runtime.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the interval has passed."""
        return self.remaining == 0

    def restart(self) -> None:
        """Begin the interval now."""
        self._restarted = runtime.monotonic()

    def expire(self) -> None:
        """End the interval now."""
        self._restarted = float("-inf")
