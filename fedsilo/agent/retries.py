"""How the agent survives errors: it logs them and tries again, because nobody would restart it sooner."""

import logging
from collections.abc import Callable

from fedsilo import runtime
from fedsilo.errors import FedsiloError
from fedsilo.files import disk_error

LONGEST_WAIT_SECONDS = 60.0
"""The longest wait between two tries. The first wait is 1 s, and each one is twice the one before."""

log = logging.getLogger(__name__)


def attempt(action: Callable[[], object]) -> bool:
    """Run the action and log its error, if any. Returns whether it succeeded."""
    try:
        action()
    except FedsiloError as error:
        log.error("%s", error)
    except Exception as error:
        if isinstance(error, OSError) and (found := disk_error(error)):
            log.error("%s", found)
        else:
            log.exception("a defect of the agent")
    else:
        return True
    return False


def retry(action: Callable[[], object]) -> None:
    """Run the action again and again until it succeeds."""
    wait = 1.0
    while not attempt(action):
        runtime.sleep(wait)
        wait = min(LONGEST_WAIT_SECONDS, 2 * wait)
