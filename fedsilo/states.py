"""The words that parties, jobs and agents use for how they are, and the exit codes: one vocabulary, written once.

Each word is stored as it stands here: in ``status.json``, ``metrics.jsonl`` and ``agents/<party>.json``.
"""

from enum import IntEnum, StrEnum


class PartyState(StrEnum):
    """How a party's part in a run is, as its ``status.json`` says."""

    REQUESTED = "REQUESTED"
    """The party has written no status yet. Readers use this word; no party writes it."""
    QUEUED = "QUEUED"
    """The agent has accepted the run, and another run comes first."""
    PENDING = "PENDING"
    """The trainer's job exists, and the trainer does not run yet, or not again yet."""
    STARTING = "STARTING"
    """The trainer runs and imports what it learns with."""
    WAITING = "WAITING"
    """The trainer waits for other parties."""
    TRAINING = "TRAINING"
    """At a silo: it trains. At the aggregator: a round is open."""
    FINISHING = "FINISHING"
    """The aggregator has sent the final model, and waits until the silos have evaluated it."""
    STOPPED = "STOPPED"
    """The trainer was asked to stop. It continues where it was when it is started again."""
    RESTARTING = "RESTARTING"
    """The trainer failed for a reason that another try may not meet."""
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    REFUSED = "REFUSED"
    """The party's policy, or the aggregator, ended the party's part."""
    ABORTED = "ABORTED"
    """The operator ended the run."""
    UNKNOWN = "UNKNOWN"
    """The status holds no word of this list. Readers use this word; no party writes it."""


TERMINAL = frozenset({PartyState.FINISHED, PartyState.FAILED, PartyState.REFUSED, PartyState.ABORTED})
"""The states after which a party does nothing more for the run."""

FAILED_STATES = TERMINAL - {PartyState.FINISHED}
"""The terminal states in which a party's part came to nothing."""


class JobState(StrEnum):
    """How the job of a run's trainer is, as a launcher sees it."""

    PENDING = "PENDING"
    """The trainer does not run yet, or not again yet."""
    RUNNING = "RUNNING"
    ENDING = "ENDING"
    """The job is being removed."""
    STUCK = "STUCK"
    """The trainer will not start by itself; the agent removes the job."""
    DONE = "DONE"
    FAILED = "FAILED"


class AgentState(StrEnum):
    """Whether an agent looks after a trainer, as its ``agents/<party>.json`` says."""

    IDLE = "IDLE"
    BUSY = "BUSY"
    UNKNOWN = "UNKNOWN"
    """The object holds neither word. Readers use this word; no agent writes it."""


class LineKind(StrEnum):
    """The kinds of line in ``metrics.jsonl``."""

    METRIC = "metric"
    SPAN = "span"
    EVENT = "event"


class Event(StrEnum):
    """What the aggregator records of a run, besides metrics and spans of time."""

    OPENED = "opened"
    """A round opened."""
    RESUMED = "resumed"
    """An aggregator that was started again continues an open round."""
    JOINED = "joined"
    """A silo takes part from here on, for the first time or again."""
    LATE = "late"
    """A silo answered a round that was closed; the answer was dropped."""
    DEADLINE = "deadline"
    """A round was closed without all silos."""
    LOST = "lost"
    """A silo says that its part is over."""
    REFUSED = "refused"
    """The aggregator ended a silo's part."""
    IGNORED = "ignored"
    """A silo's evaluation was left out of the metrics."""
    FINISHED = "finished"
    """The final model is published."""


class Span(StrEnum):
    """What a party spends time on."""

    START = "start"
    WAIT = "wait"
    MAIL = "mail"
    TRAIN = "train"
    EVALUATE = "evaluate"
    AGGREGATE = "aggregate"


class RequestAction(StrEnum):
    """What an operator asks of an agent."""

    START = "start"
    ABORT = "abort"


class TrainerExit(IntEnum):
    """The exit codes of a trainer; whoever starts trainers acts on them."""

    DONE = 0
    """The party's part is done."""
    RETRY = 1
    """It failed, and another try may continue where it was: AWS did not answer, a defect, SIGTERM."""
    FATAL = 3
    """It failed, and another try would fail the same way."""


class Verdict(StrEnum):
    """What a check of ``fedsilo doctor`` comes to."""

    OK = "ok"
    WARN = "warn"
    """Worth a look; runs can go on."""
    FAIL = "fail"


class CommandExit(IntEnum):
    """The exit codes of the ``fedsilo`` command."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    """The arguments are wrong."""
    RUN_FAILED = 3
    """The run failed, was refused or was aborted."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it: 128 + SIGINT."""
