"""Trainers as local processes without agents, for benchmarks and tests that measure, stop or kill them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from fedsilo.agent.process import STOP_SECONDS
from fedsilo.config.environment import Settings
from fedsilo.config.policy import Policy
from fedsilo.config.run import RunIdentity
from fedsilo.local import emulator


def trainer_environment(party: Settings, endpoint: str, scratch: Path, policy: Policy) -> dict[str, str]:
    """What a local trainer's environment holds: a pod's, and what this process uses as AWS, at ``endpoint``.

    The policy's file and temporary files go to ``scratch``.
    """
    policy_file = scratch / f"{party.party}-policy.json"
    policy_file.write_text(policy.model_dump_json())
    aws = emulator.environment(endpoint, os.environ["AWS_ACCESS_KEY_ID"], party.hub_region)
    return (
        aws
        | party.to_environment()
        | {
            "FEDSILO_POLICY_FILE": str(policy_file),
            "TMPDIR": str(scratch),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",
        }
    )


class Trainer:
    """One party's trainer as a local process, with its log in a file."""

    def __init__(self, party: Settings, run: RunIdentity, endpoint: str, log: Path, scratch: Path) -> None:
        self.party = party.party
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fedsilo", "trainer"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=trainer_environment(party, endpoint, scratch, Policy()) | run.to_environment(),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self._process.poll()

    def last_lines(self, count: int = 5) -> list[str]:
        with self.log.open(errors="replace") as file:
            return [line.rstrip() for line in deque(file, count)]

    def kill(self) -> None:
        """End it and what it started at once, as a lost node would."""
        self._signal(signal.SIGKILL)
        self._reap()

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _reap(self) -> None:
        self._process.wait()


def stop(trainers: list[Trainer]) -> None:
    """End all of them: those that don't end themselves within ``STOP_SECONDS`` are killed."""
    for trainer in trainers:
        trainer.ask_to_stop()
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and any(trainer.exit_code is None for trainer in trainers):
        time.sleep(0.05)
    for trainer in trainers:
        trainer.kill()
