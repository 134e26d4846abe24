"""What of an error leaves the silo: its text where no value of the data can be in it, or else its type and place.

A workload's exception may quote what the workload worked on, as ``'John Smith' is not in list``. So its text stays in
the party's own log. Text leaves only of the errors that fedsilo raises without a workload's code in between, and of
``WorkloadError``, whose author vouches for it.
"""

from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from fedsilo.errors import FedsiloError, StoppedError, WorkloadError
from fedsilo.text import QUOTE_LIMIT, plain
from fedsilo.workload.registry import PACKAGE

_OWN = "fedsilo"


def disclosed(error: BaseException) -> str:
    """What others may read of an error that was caught, in one line."""
    if is_public(error):
        return "; ".join(str(error).splitlines())
    return f"{plain(type(error).__name__, QUOTE_LIMIT)}{_place(error)}; the party's own log has its message"


def is_public(error: BaseException) -> bool:
    """Whether the text of the error may leave the silo."""
    packages = [_package(frame) for frame, _ in _frames(error)]
    match error:
        case StoppedError():  # raised by a signal, wherever the program is
            return True
        case WorkloadError():
            # Something in between, as a DataLoader's worker, makes a new text of an error and of what had caused it.
            return not packages or packages[-1] in (PACKAGE, _OWN)
        case FedsiloError():
            return PACKAGE not in packages
    return False


def _place(error: BaseException) -> str:
    """The line of the workload, or else of any program, from which the error came; empty if nobody raised it."""
    frames = list(_frames(error))
    own = [(frame, line) for frame, line in frames if _package(frame) == PACKAGE]
    for frame, line in (own or frames)[-1:]:
        path = Path(frame.f_code.co_filename)
        # As many parts of the path as the module's name has: what is before them is of this machine.
        depth = str(frame.f_globals.get("__name__", "")).count(".") + 1 + (path.stem == "__init__")
        return f" at {plain('/'.join(path.parts[-depth:]), 2 * QUOTE_LIMIT)}:{line}"
    return ""


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames that the error came through, the one that raised it last, with their lines."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
