"""The states of parties, jobs and agents, the kinds of events, requests and sums, and the exit codes.

The values are what ``status.json``, ``metrics.jsonl``, ``agents/<party>.json``, run requests, ``workload.yaml``
and policies hold.
"""

from enum import IntEnum, StrEnum


class PartyState(StrEnum):
    """The state of a party's part in a run, as in its ``status.json``."""

    REQUESTED = "REQUESTED"
    """The party has not written a status yet. Readers use this state; no party writes it."""
    QUEUED = "QUEUED"
    """The agent has accepted the run, and another run is before it."""
    PENDING = "PENDING"
    """The trainer's job exists, but the trainer does not run yet, or does not run again yet."""
    STARTING = "STARTING"
    """The trainer runs and imports its libraries."""
    WAITING = "WAITING"
    """The trainer waits for other parties."""
    TRAINING = "TRAINING"
    """A silo trains; at the aggregator, a round is open."""
    FINISHING = "FINISHING"
    """The aggregator has sent the final model and waits until the silos have evaluated it."""
    STOPPED = "STOPPED"
    """The trainer was asked to stop. When it is started again, it continues."""
    RESTARTING = "RESTARTING"
    """The trainer failed, and another try may succeed."""
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    REFUSED = "REFUSED"
    """The party's policy, or the aggregator, ended the party's part."""
    ABORTED = "ABORTED"
    """The operator ended the run."""
    UNKNOWN = "UNKNOWN"
    """The status has none of these states. Readers use this state; no party writes it."""


TERMINAL = frozenset({PartyState.FINISHED, PartyState.FAILED, PartyState.REFUSED, PartyState.ABORTED})
"""The states after which a party does nothing more for the run."""

FAILED_STATES = TERMINAL - {PartyState.FINISHED}
"""The terminal states other than FINISHED."""


class JobState(StrEnum):
    """The state of a trainer's job, as a launcher sees it."""

    PENDING = "PENDING"
    """The trainer does not run yet, or does not run again yet."""
    RUNNING = "RUNNING"
    ENDING = "ENDING"
    """The job is being removed."""
    STUCK = "STUCK"
    """The trainer can't start. The agent removes the job."""
    DONE = "DONE"
    FAILED = "FAILED"


class AgentState(StrEnum):
    """Whether an agent has a trainer to look after, as in its ``agents/<party>.json``."""

    IDLE = "IDLE"
    BUSY = "BUSY"
    WAITING = "WAITING"
    """Another agent of the party is at work. Only ``agents/<party>.waiting.json`` has this state."""
    STOPPED = "STOPPED"
    """The agent was asked to stop. Another one may take over at once."""
    UNKNOWN = "UNKNOWN"
    """The object has neither state. Readers use this state; no agent writes it."""


class LineKind(StrEnum):
    """The kinds of line in ``metrics.jsonl``."""

    METRIC = "metric"
    SPAN = "span"
    EVENT = "event"


class Event(StrEnum):
    """The events of a run that the aggregator records."""

    OPENED = "opened"
    """A round opened."""
    RESUMED = "resumed"
    """The aggregator was started again and continues an open round."""
    JOINED = "joined"
    """A silo takes part from now on, for the first time or again."""
    LATE = "late"
    """A silo answered after the round was closed, and the answer was dropped."""
    DEADLINE = "deadline"
    """A round was closed at its deadline, without all silos."""
    LOST = "lost"
    """A silo's part has ended, as its status says."""
    REFUSED = "refused"
    """The aggregator ended a silo's part."""
    CAPPED = "capped"
    """A silo's updates weigh less than it has samples, because it has far more than the median silo."""
    IGNORED = "ignored"
    """A silo's evaluation was left out of the metrics."""
    UNCERTAIN = "uncertain"
    """A metric was left out, because it is known too roughly."""
    FINISHED = "finished"
    """The final model is published."""


class Span(StrEnum):
    """The activities whose time a party records."""

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
    """The exit codes of a trainer, for the agent or the command that started it."""

    DONE = 0
    """The party's part in the run is done."""
    RETRY = 1
    """The trainer failed, and another try may continue: AWS did not answer, a defect, SIGTERM."""
    FATAL = 3
    """The trainer failed, and another try would fail in the same way."""
    AUTHENTICATION = 4
    """AWS did not accept the trainer's credentials or its clock for too long. Another try may continue. The trainer
    could write the reason nowhere but into its log."""


class Better(StrEnum):
    """Which values of a metric are better, as a workload declares it."""

    HIGHER = "higher"
    LOWER = "lower"


class SumKind(StrEnum):
    """What a sum that leaves a silo adds up, as a workload declares it."""

    COUNT = "count"
    """The number of samples."""
    SUM = "sum"
    """A value of each sample."""
    SUM_OF_SQUARES = "sum_of_squares"
    """The squares of each sample's features."""
    PARTITION = "partition"
    """Counts, of which each sample is in exactly one: a histogram. None is negative, and they add up to the count."""


class Role(StrEnum):
    """What a hyperparameter is to the rules of a policy, as a workload declares it."""

    BATCH_SIZE = "batch_size"
    """The samples of a step of training."""


class Publication(StrEnum):
    """What a policy may let leave a silo beside its updates, statistics, evaluations and metrics."""

    LOCAL_MODEL = "local_model"
    """The model that the silo trained last."""


class Protection(StrEnum):
    """How a run protects the silos' updates from the aggregator and from readers of the model."""

    PRIVATE = "private"
    """Differential privacy: no update tells whether a single sample was in the data."""
    SECURE = "secure"
    """Secure aggregation: the aggregator learns the sum of the updates and no single one."""


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
