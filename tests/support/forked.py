"""Trainers for tests, forked from a process that has imported FedML, torch and the SageMaker SDK once.

They run what ``fedsilo trainer`` runs, in processes and sessions of their own; only the seconds of import are saved.
"""

import multiprocessing
import os
import sys
from pathlib import Path

from bench.trainers import Trainer, trainer_environment
from fedsilo.config.environment import Settings
from fedsilo.training import trainer

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    # The first optimizer imports torch's compiler, torch._dynamo.
    ["fedsilo.training.session", "sagemaker.core.experiments.run", "torch._dynamo", "workloads.heart_disease"]
)


class ForkedTrainer(Trainer):
    """One party's trainer. ``kill`` and the rest are as in ``Trainer``."""

    def __init__(self, party: Settings, run: str, endpoint: str, log: Path, scratch: Path) -> None:
        self.party = party.party
        self.log = log
        environment = trainer_environment(party, endpoint, scratch)
        self._forked = _FORKS.Process(target=_run, args=(environment, run, log), daemon=True)
        self._forked.start()

    @property
    def pid(self) -> int:
        assert self._forked.pid is not None
        return self._forked.pid

    @property
    def exit_code(self) -> int | None:
        return self._forked.exitcode

    def _reap(self) -> None:
        self._forked.join()


def _run(environment: dict[str, str], run: str, log: Path) -> None:
    os.setsid()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(trainer.main(run))
