"""The schemas of what parties write: ``status.json``, ``agents/<party>.json`` and the lines of ``metrics.jsonl``.

Each schema names its fields once, for those who write them and for those who read them:

* Writing is strict: an unknown field, or a value of the wrong type, raises. That is a defect of fedsilo.
* Reading is lenient, because a party may write anything below its own prefix: a field that can't be used counts as
  missing, and nothing raises.
* Every text, written or read, is one line of limited length without a character that a terminal acts on: what a party
  writes may quote another party.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationInfo, WrapValidator

from fedsilo.ledger import lenient
from fedsilo.ledger.lenient import KEY_LIMIT, NAME_LIMIT, count, json_object, moment, number, utc
from fedsilo.states import TERMINAL, AgentState, LineKind, PartyState
from fedsilo.text import TEXT_LIMIT, plain

AGENT_SILENT_SECONDS = 180.0
"""How long an agent may write nothing before it counts as away: nine of its heartbeats, and far longer than another
agent would wait to take over."""

PARTY_SILENT_SECONDS = 60.0
"""How long a party of a run may write no status before it counts as silent: four of its heartbeats, which it also
writes while it trains."""

LINE_TEXT_LIMIT = 300
"""Characters of an event's text that are shown."""

MAX_TIME = 1e10
"""The latest Unix time that is believed; in the year 2286."""

_EXPERIMENT_LIMIT = 120

_READING = {"reading": True}
"""The validation context that makes a schema lenient."""


def _read(read: Callable[[Any], Any]) -> WrapValidator:
    """Make a field lenient: while reading, its value is ``read`` of what stands in the file."""

    def validate(value: Any, strict: Callable[[Any], Any], info: ValidationInfo) -> Any:
        return read(value) if info.context is _READING else strict(value)

    return WrapValidator(validate)


def _clean(clean: Callable[[Any], Any]) -> WrapValidator:
    """As ``_read``; while writing, too, the value is ``clean`` of what was given."""

    def validate(value: Any, strict: Callable[[Any], Any], info: ValidationInfo) -> Any:
        return clean(value if info.context is _READING else strict(value))

    return WrapValidator(validate)


def _text(limit: int = TEXT_LIMIT) -> WrapValidator:
    return _clean(lambda value: plain(value, limit))


_PARTY_STATES = {state.value: state for state in PartyState if state is not PartyState.REQUESTED}
_AGENT_STATES = {state.value: state for state in AgentState}
_LINE_KINDS = {kind.value: kind for kind in LineKind}


def _party_state(value: object) -> PartyState:
    return _PARTY_STATES.get(value, PartyState.UNKNOWN) if isinstance(value, str) else PartyState.UNKNOWN


def _agent_state(value: object) -> AgentState:
    return _AGENT_STATES.get(value, AgentState.UNKNOWN) if isinstance(value, str) else AgentState.UNKNOWN


def _line_kind(value: object) -> LineKind | None:
    return _LINE_KINDS.get(value) if isinstance(value, str) else None


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


_Moment = Annotated[datetime | None, _read(moment), PlainSerializer(utc)]
_Count = Annotated[int | None, _read(count)]
_Names = Annotated[tuple[str, ...], _read(lenient.names)]
_Name = Annotated[str, _text(NAME_LIMIT)]


class _Document(BaseModel):
    """An object of JSON in the mail bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    silent_seconds: Annotated[float | None, Field(exclude=True)] = None
    """Seconds since the object was written, by the clock of S3; None if there is no object. It is not in the object."""
    unreadable: Annotated[str, _text(), Field(exclude=True)] = ""
    """Why the reader could not read the object; empty if it could, or if there is none. It is not in the object."""

    @classmethod
    def _of(cls, body: bytes, **known: Any) -> Self:
        """Read ``body`` leniently; ``known`` are fields that the reader does not take from it."""
        wanted = cls.model_fields.keys() - known.keys() - {"unreadable"}
        raw = {"state": None} | {name: value for name, value in json_object(body).items() if name in wanted}
        return cls.model_validate(raw, context=_READING).model_copy(update=known)

    def changed(self, **fields: Any) -> Self:
        """A copy with other values of some fields. Raises ``ValidationError`` for an unknown field or a wrong type."""
        return type(self).model_validate({name: getattr(self, name) for name in self.model_fields_set} | fields)

    def dumps(self) -> str:
        """The object as it is stored. Fields that were never set are left out."""
        return json.dumps(self.model_dump(mode="json", exclude_unset=True), allow_nan=False)


class Status(_Document):
    """A party's ``status.json``: how its part in a run is going."""

    run: _Name = ""
    party: _Name = ""
    version: _Name = ""
    """The version of fedsilo that wrote the status."""
    state: Annotated[PartyState, _read(_party_state)] = PartyState.REQUESTED
    """The default stands for a party that has written no status."""
    reason: Annotated[str, _text()] = ""
    """Why the party is in this state, in a sentence."""
    round: _Count = None
    rounds: _Count = None
    """How many rounds the run has."""
    started: _Moment = None
    heartbeat: _Moment = None
    """When the status was written, by the writer's clock."""
    finished: _Moment = None
    experiment: Annotated[str, _text(_EXPERIMENT_LIMIT)] = ""
    """The party's experiment in SageMaker."""
    tracking_failures: Annotated[int, _read(lambda value: count(value) or 0)] = 0
    """How many times SageMaker did not take what was recorded."""
    parameters: Annotated[Mapping[str, int | float | str], _read(lenient.scalars)] = {}
    """The parameters that the party recorded in SageMaker."""

    publishes_model: Annotated[bool | None, _read(lambda value: value if isinstance(value, bool) else None)] = None
    """From a silo: whether its policy lets it publish the model that it trained last."""

    asked: _Names = ()
    """From the aggregator: the silos that the open round asks; none if it asks all."""
    answered: _Names = ()
    """From the aggregator: the silos that have answered the open round."""
    present: _Names = ()
    """From the aggregator: the silos that the run waits for."""
    refused: Annotated[Mapping[str, str], _clean(lenient.texts)] = {}
    """From the aggregator: why it refused a silo, by the silo's name."""
    contributions: Annotated[Mapping[str, int], _read(lenient.counts)] = {}
    """From the aggregator: how many rounds were closed with a silo's update in the aggregate, by the silo's name."""
    weight_cap: _Count = None
    """From the aggregator: the most that a silo's update of the open round weighs, in samples."""
    capped: _Names = ()
    """From the aggregator: the silos whose updates of the open round weigh less than they have samples."""
    asked_rounds: Annotated[Mapping[str, int], _read(lenient.counts)] = {}
    """From the aggregator: how many closed rounds asked a silo, by its name; none if each round asks all."""
    metrics: Annotated[Mapping[str, float], _read(lenient.metrics), PlainSerializer(_finite)] = {}
    """From the aggregator: the newest metrics of the global model."""
    bounds: Annotated[Mapping[str, float], _read(lenient.metrics)] = {}
    """From the aggregator: how far the exact values of ``metrics`` can be from those, where they are not exact."""

    sha256: Annotated[str, _text()] = ""
    """From the agent: the digest of run.json that the request named."""
    object_version: Annotated[str, _text()] = ""
    """From the agent: S3's id of the version of run.json that the request named."""
    failure: Annotated[str, _text()] = ""
    """From the agent: what the trainer said of its failure before it was started again."""
    failed_tries: Annotated[int, _read(lambda value: count(value) or 0)] = 0
    """From the agent: how many of the trainer's tries have ended badly."""

    @classmethod
    def of(cls, body: bytes | None, silent_seconds: float | None = None) -> Self:
        """Read a status.

        Args:
            body: The object; None if the party has not written one.
            silent_seconds: How long ago it was written, by the clock of S3.
        """
        return cls() if body is None else cls._of(body, silent_seconds=silent_seconds)

    @property
    def samples(self) -> int | None:
        """How many samples the party trains on; None if it has not said so."""
        return count(self.parameters.get("train data size"))

    @property
    def over(self) -> bool:
        """Whether the party's part has ended."""
        return self.state in TERMINAL

    def to_json(self) -> dict[str, Any]:
        """The status as commands print it with ``--json``."""
        return {
            "state": self.state,
            "reason": self.reason or self.unreadable,
            "round": self.round,
            "samples": self.samples,
            "publishes_model": self.publishes_model,
            "version": self.version,
            "started": utc(self.started),
            "finished": utc(self.finished),
            "silent_seconds": self.silent_seconds,
        }


class AgentStatus(_Document):
    """A party's ``agents/<party>.json``: the heartbeat of its agent, which is also the agent's lease."""

    second: Annotated["AgentStatus | None", Field(exclude=True), _read(lambda _: None)] = None
    """Another agent of the party, which waits until this one stops. It is not in the object."""

    party: _Name = ""
    version: _Name = ""
    instance: _Name = ""
    """Which agent wrote this. An agent that is started again in the same folder is the same."""
    host: _Name = ""
    """The name of the agent's machine; in a cluster, of its pod."""
    state: Annotated[AgentState | None, _read(_agent_state)] = None
    """None if the party has never had an agent."""
    run: Annotated[str | None, _read(lambda value: plain(value, NAME_LIMIT) or None)] = None
    """The run whose trainer the agent looks after."""
    queued: _Names = ()
    """The runs that wait for their turn, the next one first."""
    aborting: _Names = ()
    """The runs whose trainers are being ended for the operator."""
    seen: _Moment = None
    """When the agent wrote this: by its own clock in the object, by the clock of S3 where a reader shows it."""
    started: _Moment = None
    """When the agent's process started."""
    launcher: _Name = ""
    min_silos: _Count = None
    """How many silos the party's policy asks for."""

    @classmethod
    def of(cls, party: str, body: bytes, seen: datetime, silent_seconds: float) -> Self:
        """Read the heartbeat of the agent of ``party``.

        Args:
            party: The party below whose key the object is.
            body: The object.
            seen: When it was written, by the clock of S3.
            silent_seconds: How long ago that was.
        """
        return cls._of(body, party=party, seen=seen, silent_seconds=silent_seconds)

    @property
    def silent(self) -> bool:
        """Whether the agent was stopped, has missed heartbeats for ``AGENT_SILENT_SECONDS``, or was never there."""
        stopped = self.state == AgentState.STOPPED
        return stopped or self.silent_seconds is None or self.silent_seconds > AGENT_SILENT_SECONDS

    def to_json(self) -> dict[str, Any]:
        """The heartbeat as commands print it with ``--json``."""
        return {
            "party": self.party,
            "state": self.state,
            "run": self.run,
            "queued": list(self.queued),
            "version": self.version or None,
            "launcher": self.launcher or None,
            "instance": self.instance or None,
            "host": self.host or None,
            "waiting": self.second and self.second.to_json(),
            "min_silos": self.min_silos,
            "started": utc(self.started),
            "seen": utc(self.seen),
            "silent_seconds": self.silent_seconds,
            "silent": self.silent,
            "unreadable": self.unreadable or None,
        }


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A line of a party's ``metrics.jsonl``: a metric, a span of time or an event. All times are Unix times.

    It is no pydantic model, because a report reads a million of them.
    """

    party: str
    kind: LineKind
    name: str
    """A metric's name, as ``Test:AUC``; else a word of ``Span`` or ``Event``."""
    start: float
    """When a span began; of other kinds the same as ``time``."""
    time: float
    """When the metric was recorded, the span ended, or the event happened."""
    value: float = 0.0
    """A metric's value."""
    bound: float = 0.0
    """How far the exact value of a metric can be from ``value``; 0 if it is exact."""
    round: int | None = None
    """The round; of a silo's metric the epoch."""
    silo: str | None = None
    """The silo of which the aggregator recorded the metric; None for a metric of the writer."""
    text: str = ""
    """What an event tells an operator."""

    @classmethod
    def of(cls, party: str, body: bytes) -> "LedgerLine | None":
        """Read a line leniently; None if it lacks what its kind must have, or can't be true."""
        raw = json_object(body)
        kind, name = _line_kind(raw.get("kind")), plain(raw.get("name"), KEY_LIMIT)
        time = number(raw.get("end" if kind is LineKind.SPAN else "time"))
        start = number(raw.get("start")) if kind is LineKind.SPAN else time
        value = number(raw.get("value")) if kind is LineKind.METRIC else 0.0
        bound = number(raw.get("bound", 0.0))
        if kind is None or time is None or start is None or value is None or bound is None or bound < 0:
            return None
        if not 0 <= start <= time <= MAX_TIME or not lenient.is_possible(name, value):
            return None
        silo = None if raw.get("silo") is None else plain(raw["silo"], NAME_LIMIT)
        text = plain(raw.get("text"), LINE_TEXT_LIMIT)
        return cls(party, kind, name, start, time, value, bound, count(raw.get("round", raw.get("step"))), silo, text)

    def dumps(self) -> str:
        """The line as it is stored, without its end. Raises ``ValueError`` for a value that is not finite."""
        line: dict[str, Any] = {"time": round(self.time, 4), "kind": self.kind, "name": plain(self.name, KEY_LIMIT)}
        if self.kind is LineKind.METRIC:
            line |= {"value": self.value} | ({"bound": self.bound} if self.bound else {})
            line |= {"step": self.round} | ({"silo": self.silo} if self.silo else {})
        elif self.kind is LineKind.SPAN:
            line |= {"start": round(self.start, 4), "end": round(self.time, 4), "round": self.round}
        else:
            line |= {"round": self.round, "text": plain(self.text, LINE_TEXT_LIMIT)}
        return json.dumps(line, allow_nan=False)
