"""What ``fedsilo doctor`` checks. Nothing that it does changes the federation."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from fedsilo import __version__, aws, names
from fedsilo.admin.client import WHO, HubClient
from fedsilo.config.load import load_federation
from fedsilo.errors import FedsiloError
from fedsilo.ledger.schema import AgentStatus
from fedsilo.text import ago, duration, plain

OK, LOOK, NOT_OK = "ok", "look", "not ok"
"""Verdicts: ``LOOK`` is worth a look and stops nobody."""

SKEW_LOOK_SECONDS, SKEW_SECONDS = 30.0, 240.0
"""How far the clock may be off. AWS refuses requests that are signed 5 minutes off or more."""


@dataclass(frozen=True)
class Check:
    """What was checked, how it is, and what to do where it is not ok."""

    name: str
    verdict: str
    found: str
    todo: str = ""

    def to_json(self) -> dict[str, str]:
        """As ``--json`` prints it."""
        return asdict(self)


def run(file: Path) -> Iterator[Check]:
    """All checks, in the order in which one thing needs the other. What can't be checked any more is left out."""
    try:
        federation = load_federation(file)
    except FedsiloError as error:
        yield _failed("file", error)
        return
    yield Check("file", OK, f"{file}: federation {federation.name}, {len(federation.silos)} silos")
    try:
        with aws.translate_errors(WHO, "ask AWS whose the credentials are", "they are valid"):
            sts = aws.sts(federation.aggregator.region, aws.OPERATOR_ATTEMPTS)
            asked = datetime.now(UTC)
            caller = sts.get_caller_identity()
    except FedsiloError as error:
        yield _failed("credentials", error)
        return
    yield Check("credentials", OK, plain(caller["Arn"], 200))
    yield _clock(caller["ResponseMetadata"]["HTTPHeaders"].get("date", ""), asked)
    expected = federation.aggregator.account or caller["Account"]
    if caller["Account"] != expected:
        yield Check(
            "account",
            NOT_OK,
            f"the credentials are of account {caller['Account']}, and the hub is in {expected}",
            f"use credentials of {expected} that have the policy {names.operator_policy(federation.name)}",
        )
        return
    if federation.control_plane == "mlops":
        yield Check("account", OK, expected)
        yield Check("agents", LOOK, "FedML's platform shows whether they are there", "see docs/mlops.md")
        return
    yield Check("account", OK, f"{expected}, hub in {federation.aggregator.region}")
    hub = HubClient.of(federation)
    yield from _bucket(hub)
    yield from _queues(hub)
    yield from _agents(hub)


def _failed(name: str, error: FedsiloError) -> Check:
    return Check(name, NOT_OK, "; ".join(str(error).splitlines()))


def _clock(date: str, asked: datetime) -> Check:
    try:
        off = (parsedate_to_datetime(date) - asked).total_seconds()
    except (TypeError, ValueError):
        return Check("clock", LOOK, "AWS's answer has no date", "compare this machine's clock with a time server")
    how = f"{duration(abs(round(off)))} {'behind' if off > 0 else 'ahead of'} AWS's"
    if abs(off) <= SKEW_LOOK_SECONDS:
        return Check("clock", OK, how)
    return Check("clock", LOOK if abs(off) <= SKEW_SECONDS else NOT_OK, how, "set it, by NTP")


def _bucket(hub: HubClient) -> Iterator[Check]:
    policy = names.operator_policy(hub.federation.name)
    try:
        newest = next(iter(hub.reader.newest_runs()), None)
    except FedsiloError as error:
        yield _failed("mail bucket", error)
        return
    yield Check("mail bucket", OK, f"{hub.bucket.name}, newest run: {newest.run if newest else 'none yet'}")
    if newest is None:
        yield Check("write runs", LOOK, "not checked before there is a run")
        return
    try:
        allowed = hub.may_write_runs(newest.run)
    except FedsiloError as error:
        yield _failed("write runs", error)
        return
    yield (
        Check("write runs", OK, "allowed")
        if allowed
        else Check("write runs", NOT_OK, "denied", f"attach the policy {policy} to the operator's role")
    )


def _queues(hub: HubClient) -> Iterator[Check]:
    try:
        queues = hub.control_queues(hub.parties)
        waiting = hub.waiting(queues)
        dead = hub.undeliverable()
    except FedsiloError as error:
        yield _failed("queues", error)
        return
    yield Check("queues", OK, f"{len(queues)} control queues")
    for party, count in waiting.items():
        if count:
            yield Check("requests", LOOK, f"{count} wait for {party}", "is its agent there? see below")
    for party, count in dead.items():
        if count:
            queue = names.dead_letter_queue(hub.federation.name, party)
            yield Check("dead letters", LOOK, f"{count} for {party}", f"read them in {queue}")


def _agents(hub: HubClient) -> Iterator[Check]:
    try:
        agents = hub.reader.agents(hub.parties)
    except FedsiloError as error:
        yield _failed("agents", error)
        return
    yield from (_agent(agent, hub.federation.name) for agent in agents)


def _agent(agent: AgentStatus, federation: str) -> Check:
    name = f"agent {agent.party}"
    if agent.silent:
        stack = names.stack(federation, agent.party, "workload")
        return Check(name, NOT_OK, f"heard of {ago(agent.silent_seconds)}", f"look at its pod; stack {stack}")
    if agent.version != __version__:
        return Check(
            name,
            LOOK,
            f"version {agent.version or 'unknown'}, and this command is {__version__}",
            "deploy the party's workload stack anew, or use the command of that version",
        )
    return Check(name, OK, f"{agent.state}, heard of {ago(agent.silent_seconds)}, version {agent.version}")
