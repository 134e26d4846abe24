"""What the passing of time does to a run: rounds reach their deadlines, and silos end without a mail."""

import logging

from fedsilo import runtime
from fedsilo.config.environment import Settings
from fedsilo.config.run import Run
from fedsilo.errors import FedsiloError
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import Reader
from fedsilo.ledger.schema import PARTY_SILENT_SECONDS, Status
from fedsilo.states import FAILED_STATES, PartyState
from fedsilo.training.rounds import Rounds

EXTENSION_SECONDS = 15.0
"""For how long a round is extended at a time: a silo's status is written this often."""

log = logging.getLogger(__name__)


class Deadlines:
    """Closes rounds at their deadlines, and finds silos whose own statuses say that their part has ended."""

    def __init__(self, settings: Settings, run: Run, rounds: Rounds) -> None:
        self._run, self._rounds, self._roster = run, rounds, rounds.roster
        self._reader = Reader(MailBucket(settings.hub_access(settings.role), attempts=1))

    def tick(self) -> None:
        """Act if the deadline has passed, or if it is time to read the silos' statuses.

        Raises:
            RunError: The run can't go on.
        """
        now = runtime.monotonic()
        if now >= self._rounds.deadline:
            if not self._extend():
                self._close()
        elif now >= self._rounds.poll_at:
            self._rounds.wait(self._rounds.deadline - now)
            failed = self._read_failed()
            if failed:
                self._rounds.lose(failed)

    def _extend(self) -> bool:
        """Wait on for silos that have more time than the others, and are alive. Returns whether there are any.

        A silo writes its status while it trains, so a status that is old means that the silo is gone.
        """
        now, opened = runtime.monotonic(), self._rounds.opened
        left = {
            silo.name: opened[self._rounds.round_idx] + self._run.deadline_of(silo.name) - now
            for silo in self._roster.missing
        }
        in_time = [name for name, seconds in left.items() if seconds > 0]
        if not in_time:
            return False
        try:
            statuses = self._reader.statuses(self._run, in_time)
        except FedsiloError as error:
            log.warning("the silos' statuses can't be read, so the round stays open: %s", error)
            alive = in_time
        else:
            alive = [name for name in in_time if _is_alive(statuses[name])]
        if alive:
            self._rounds.wait(min(EXTENSION_SECONDS, max(left[name] for name in alive)))
        return bool(alive)

    def _close(self) -> None:
        responded, silos, quorum = len(self._roster.responded), len(self._run.silos), self._run.quorum
        if self._roster.phase == PartyState.FINISHING:
            self._rounds.end()
        elif self._roster.phase == PartyState.WAITING:
            if responded < quorum:
                self._rounds.fail_quorum(f"{responded} of {silos} silos came within {self._run.join_seconds:g} s")
            self._rounds.open_first_round()
        else:
            if responded < quorum:
                within = f"{self._run.deadline_seconds:g} s"
                self._rounds.fail_quorum(
                    f"round {self._rounds.round_idx}: {responded} of {silos} silos answered within {within}"
                )
            self._rounds.close_without_missing()

    def _read_failed(self) -> dict[str, str]:
        """The silos that are waited for and say that their part has ended, with what they say."""
        silos = [silo.name for silo in self._roster.awaited]
        try:
            statuses = self._reader.statuses(self._run, silos)
        except FedsiloError as error:
            log.warning("the silos' statuses can't be read: %s", error)
            return {}
        return {
            silo: f"{status.state}: {status.reason}"
            for silo, status in statuses.items()
            if status.state in FAILED_STATES
        }


def _is_alive(status: Status) -> bool:
    return status.silent_seconds is not None and status.silent_seconds <= PARTY_SILENT_SECONDS and not status.over
