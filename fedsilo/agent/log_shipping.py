"""The trainer's log on its way into the ledger: fedsilo's own records of it, uploaded when they have changed."""

import logging

from fedsilo import redaction
from fedsilo.agent.hub import AgentHub
from fedsilo.agent.launcher import Launcher
from fedsilo.agent.timers import Timer
from fedsilo.errors import FedsiloError

INTERVAL_SECONDS = 15.0
"""How often the log of a running trainer is looked at."""

log = logging.getLogger(__name__)


class LogShipper:
    """Uploads the logs of a party's trainers."""

    def __init__(self, hub: AgentHub, launcher: Launcher) -> None:
        self._hub, self._launcher = hub, launcher
        self._timer = Timer(INTERVAL_SECONDS)
        self._uploaded: dict[str, int] = {}
        """The hash of the text in the ledger, by run."""

    def upload_if_due(self, run_id: str) -> None:
        """Upload the log of a running trainer, every ``INTERVAL_SECONDS``."""
        if self._timer.passed:
            self._timer.restart()
            self.upload(run_id)

    def upload(self, run_id: str) -> None:
        """Upload fedsilo's records at the end of the trainer's log, unless there are none or they are in the ledger.

        An empty log is not uploaded: `fedsilo run logs` would print nothing, where it can say that there is no log
        yet. A failure is a warning in the agent's own log.
        """
        try:
            text = redaction.own_records(self._launcher.log(run_id))
            if text and hash(text) != self._uploaded.get(run_id):
                self._hub.put_log(run_id, text)
                self._uploaded[run_id] = hash(text)
        except FedsiloError as error:
            log.warning("the trainer's log could not be uploaded: %s", error, extra={"run": run_id})
