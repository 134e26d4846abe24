"""What a process has cost so far."""

import resource
import sys


def peak_bytes() -> int:
    """This process's largest resident set."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
