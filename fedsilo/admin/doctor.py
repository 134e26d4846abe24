"""What ``fedsilo doctor`` checks. No check changes the federation."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from fedsilo import __version__, aws, names, runtime
from fedsilo.admin.client import WHO, HubClient
from fedsilo.config.federation import Federation
from fedsilo.config.load import load_federation
from fedsilo.errors import FedsiloError
from fedsilo.ledger.schema import AgentStatus
from fedsilo.states import Verdict
from fedsilo.text import ago, duration, plain

SKEW_WARN_SECONDS = 30.0
"""How far the clock may be off without a warning."""

SKEW_FAIL_SECONDS = 240.0
"""How far the clock may be off at all: AWS refuses requests that were signed 5 minutes ago or more."""


@dataclass(frozen=True)
class Check:
    """One check."""

    name: str
    verdict: Verdict
    found: str
    """What was found."""
    todo: str = ""
    """What to do about it; empty if the verdict is ok."""

    def to_json(self) -> dict[str, str]:
        """The check as ``--json`` prints it."""
        return asdict(self)


def run(file: Path) -> Iterator[Check]:
    """All checks of a federation, each after those that it depends on.

    If a check fails, those that depend on it are left out.

    Args:
        file: The federation's file.
    """
    try:
        federation = load_federation(file)
    except FedsiloError as error:
        yield _failed("file", error)
        return
    yield Check("file", Verdict.OK, f"{file}: federation {federation.name}, {len(federation.silos)} silos")
    try:
        with aws.translate_errors(WHO, "ask AWS whose the credentials are", "they are valid"):
            sts = aws.sts(federation.aggregator.region, aws.OPERATOR_ATTEMPTS)
            asked = runtime.now()
            caller = sts.get_caller_identity()
    except FedsiloError as error:
        yield _failed("credentials", error)
        return
    yield Check("credentials", Verdict.OK, plain(caller["Arn"], 200))
    yield _clock(caller["ResponseMetadata"]["HTTPHeaders"].get("date", ""), asked)
    yield from _account(federation, caller["Account"])


def _account(federation: Federation, account: str) -> Iterator[Check]:
    """Whether the credentials are of the hub's account; then the checks of the hub."""
    expected = federation.aggregator.account or account
    if account != expected:
        yield Check(
            "account",
            Verdict.FAIL,
            f"the credentials are of account {account}, and the hub is in {expected}",
            f"use credentials of {expected} that have the policy {names.operator_policy(federation.name)}",
        )
        return
    if federation.control_plane == "mlops":
        yield Check("account", Verdict.OK, expected)
        yield Check("agents", Verdict.WARN, "FedML's platform shows whether they are there", "see docs/mlops.md")
        return
    yield Check("account", Verdict.OK, f"{expected}, hub in {federation.aggregator.region}")
    hub = HubClient.of(federation)
    for name, checks in (("mail bucket", _bucket), ("queues", _queues), ("agents", _agents)):
        try:
            yield from checks(hub)
        except FedsiloError as error:
            yield _failed(name, error)


def _failed(name: str, error: FedsiloError) -> Check:
    return Check(name, Verdict.FAIL, "; ".join(str(error).splitlines()))


def _clock(date: str, asked: datetime) -> Check:
    """Compare this machine's clock with AWS's.

    Args:
        date: The date header of AWS's answer.
        asked: When AWS was asked, by this machine's clock.
    """
    try:
        off = (parsedate_to_datetime(date) - asked).total_seconds()
    except (TypeError, ValueError):
        todo = "compare this machine's clock with a time server"
        return Check("clock", Verdict.WARN, "AWS's answer has no date", todo)
    found = f"{duration(abs(round(off)))} {'behind' if off > 0 else 'ahead of'} AWS's"
    if abs(off) <= SKEW_WARN_SECONDS:
        return Check("clock", Verdict.OK, found)
    return Check("clock", Verdict.WARN if abs(off) <= SKEW_FAIL_SECONDS else Verdict.FAIL, found, "set it, by NTP")


def _bucket(hub: HubClient) -> Iterator[Check]:
    newest = next(iter(hub.reader.newest_runs()), None)
    yield Check("mail bucket", Verdict.OK, f"{hub.bucket.name}, newest run: {newest.run if newest else 'none yet'}")
    if newest is None:
        yield Check("write runs", Verdict.WARN, "can't be checked before the first run")
        return
    try:
        allowed = hub.may_write_runs(newest.run)
    except FedsiloError as error:
        yield _failed("write runs", error)
        return
    policy = names.operator_policy(hub.federation.name)
    denied = Check("write runs", Verdict.FAIL, "denied", f"attach the policy {policy} to the operator's role")
    yield Check("write runs", Verdict.OK, "allowed") if allowed else denied


def _queues(hub: HubClient) -> Iterator[Check]:
    queues = hub.control_queues(hub.parties)
    waiting = hub.waiting(queues)
    undeliverable = hub.undeliverable()
    yield Check("queues", Verdict.OK, f"{len(queues)} control queues")
    for party, count in waiting.items():
        if count:
            yield Check("requests", Verdict.WARN, f"{count} wait for {party}", "is its agent there? see below")
    for party, count in undeliverable.items():
        if count:
            queue = names.dead_letter_queue(hub.federation.name, party)
            yield Check("dead letters", Verdict.WARN, f"{count} for {party}", f"read them in {queue}")


def _agents(hub: HubClient) -> Iterator[Check]:
    yield from (_agent(agent, hub.federation.name) for agent in hub.reader.agents(hub.parties))


def _agent(agent: AgentStatus, federation: str) -> Check:
    name, heard = f"agent {agent.party}", f"last heartbeat {ago(agent.silent_seconds)}"
    if agent.unreadable:
        return Check(name, Verdict.FAIL, agent.unreadable, "ask the party's owner what writes it")
    if agent.silent:
        stack = names.stack(federation, agent.party, "workload")
        return Check(name, Verdict.FAIL, heard, f"look at its pod; stack {stack}")
    if agent.second:
        found = f"at work on {agent.host or 'an unnamed host'}, and a second one waits on {agent.second.host}"
        return Check(name, Verdict.WARN, found, "stop one of them, unless one is about to replace the other")
    if agent.version != __version__:
        return Check(
            name,
            Verdict.WARN,
            f"version {agent.version or 'unknown'}, and this command is {__version__}",
            "deploy the party's workload stack again, or use the command of that version",
        )
    return Check(name, Verdict.OK, f"{agent.state}, {heard}, version {agent.version}")
