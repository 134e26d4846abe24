"""How a trainer's part ends: the status and the exit code say it, even if a SIGTERM comes at that moment."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from errno import ENOSPC, EROFS
from pathlib import Path
from typing import Any

import pytest

from fedsilo.config.environment import Settings
from fedsilo.config.run import Run, RunIdentity
from fedsilo.errors import AuthenticationError, HubError, ModelError, RefusedError, RunError, SpecError, StoppedError
from fedsilo.states import TrainerExit
from fedsilo.training import session, trainer
from tests.support.strategies import RUN

SETTINGS = Settings(federation="heart", party="cleveland", rank=1, hub_account="111111111111", hub_region="us-east-1")


class Ledger:
    """Keeps how the part was closed. A SIGTERM comes at that moment."""

    closed: dict[str, Any]

    def __init__(self, settings: Settings, run: Run) -> None:
        pass

    def span(self, name: str, round_idx: int) -> Any:
        return contextlib.nullcontext()

    def close(self, **fields: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        Ledger.closed = fields


@pytest.fixture
def take_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[BaseException | None], int]]:
    def take_part(error: BaseException | None) -> int:
        def take(*_: Any) -> None:
            if error:
                raise error

        monkeypatch.setattr(session, "take_part", take)
        return trainer.main(RunIdentity("heart-1", "0" * 64))

    policy = tmp_path / "policy.json"
    policy.write_text("{}")
    for name, value in (SETTINGS.to_environment() | {"FEDSILO_POLICY_FILE": str(policy)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(trainer, "Ledger", Ledger)
    monkeypatch.setattr(trainer, "MailBucket", lambda access: None)  # it needs credentials
    monkeypatch.setattr(trainer, "fetch", lambda *_: Run.checked(RUN))
    before = signal.getsignal(signal.SIGTERM)
    yield take_part
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "code", "state", "reason"),
    [
        (None, TrainerExit.DONE, "FINISHED", ""),
        (StoppedError("stopped by SIGTERM"), TrainerExit.RETRY, "STOPPED", "stopped by SIGTERM"),
        (HubError("S3 does not answer"), TrainerExit.RETRY, "RESTARTING", "S3 does not answer"),
        (AuthenticationError("renew them"), TrainerExit.AUTHENTICATION, "RESTARTING", "renew them"),
        (
            OSError(ENOSPC, "No space left on device", "/srv/spool"),
            TrainerExit.RETRY,
            "RESTARTING",
            "the disk of /srv is full",
        ),
        (
            OSError(EROFS, "Read-only file system", "/srv/spool"),
            TrainerExit.FATAL,
            "FAILED",
            "the disk of /srv can only be",
        ),
        (RefusedError("policy.max_rounds"), TrainerExit.FATAL, "REFUSED", "policy.max_rounds"),
        (ModelError("w has dtype complex64"), TrainerExit.FATAL, "FAILED", "w has dtype complex64"),
        (RunError("the quorum is 2"), TrainerExit.FATAL, "FAILED", "the quorum is 2"),
        (SpecError("line 128: lr\nline 129: mu"), TrainerExit.FATAL, "FAILED", "line 128: lr; line 129: mu"),
        (
            ValueError("could not convert '63y' at 145"),
            TrainerExit.RETRY,
            "RESTARTING",
            "a defect of fedsilo or of the workload: ValueError at tests/training/test_trainer.py:",
        ),
    ],
)
def test_the_end_is_written_although_sigterm_comes_and_shows_no_value(
    take_part: Callable[[BaseException | None], int],
    error: BaseException | None,
    code: int,
    state: str,
    reason: str,
) -> None:
    assert take_part(error) == code
    assert Ledger.closed["state"] == state
    assert Ledger.closed["reason"].startswith(reason)
    assert "63y" not in Ledger.closed["reason"]
    assert "145" not in Ledger.closed["reason"]


def test_an_unknown_log_level_ends_the_part(
    take_part: Callable[[BaseException | None], int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FEDSILO_LOG_LEVEL", "loud")
    assert take_part(None) == TrainerExit.FATAL
    assert "FEDSILO_LOG_LEVEL: 'loud' should be one of" in caplog.text


@pytest.mark.parametrize("text", [None, "min_sample: 3", "{"])
def test_a_party_without_a_valid_policy_takes_no_part(
    take_part: Callable[[BaseException | None], int], tmp_path: Path, text: str | None
) -> None:
    policy = tmp_path / "policy.json"
    policy.unlink() if text is None else policy.write_text(text)
    assert take_part(None) == TrainerExit.FATAL
    assert Ledger.closed["state"] == "FAILED"
    assert "policy.json" in Ledger.closed["reason"]
