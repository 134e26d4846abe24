"""Trainers for tests, forked from a process that has imported FedML, torch and the SageMaker SDK once.

They run what ``fedsilo trainer`` runs, in processes and sessions of their own; only the seconds of import are saved. A
test forks a ``ForkedTrainer``. A local launcher, whose agent is a process of its own, gets its forks by
``LauncherForks.command``.
"""

import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection, Listener, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from bench.trainers import Trainer, trainer_environment
from fedsilo.config.environment import Settings
from fedsilo.config.policy import Policy
from fedsilo.config.run import RunIdentity
from fedsilo.training import trainer
from tests.support import forked_command

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    # The first optimizer imports torch's compiler, torch._dynamo.
    ["fedsilo.training.session", "sagemaker.core.experiments.run", "torch._dynamo", "workloads.heart_disease"]
)


class ForkedTrainer(Trainer):
    """One party's trainer. ``kill`` and the rest are as in ``Trainer``."""

    def __init__(
        self,
        party: Settings,
        policy: Policy,
        run: RunIdentity,
        endpoint: str,
        log: Path,
        scratch: Path,
        constants: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """Start it. ``constants`` replace values of modules in its process: by the module's name, then by their own."""
        self.party = party.party
        self.log = log
        environment = trainer_environment(party, endpoint, scratch, policy)
        self._forked = _fork(environment | run.to_environment(), log, constants)

    @property
    def pid(self) -> int:
        assert self._forked.pid is not None
        return self._forked.pid

    @property
    def exit_code(self) -> int | None:
        return self._forked.exitcode

    def _reap(self) -> None:
        self._forked.join()


class LauncherForks:
    """Forks trainers for local launchers in other processes, which run ``command`` in place of ``fedsilo trainer``."""

    def __init__(self, folder: Path) -> None:
        socket = str(folder / "forks")
        self._listener = Listener(socket, family="AF_UNIX")
        self.command = (sys.executable, "-S", forked_command.__file__, socket)
        threading.Thread(target=self._serve, name="forks", daemon=True).start()

    def _serve(self) -> None:
        while True:
            caller = self._listener.accept()
            threading.Thread(target=_run_for, args=(caller,), daemon=True).start()


def _run_for(caller: Connection) -> None:
    """Fork a trainer, stop it when the caller asks for that, and kill it when the caller is gone."""
    with caller, contextlib.suppress(OSError):  # the caller, or the trainer, may have ended in between
        environment, log = caller.recv()
        forked = _fork(environment, Path(log))
        assert forked.pid is not None
        caller.send(forked.pid)
        while forked.sentinel not in wait([caller, forked.sentinel]):
            try:
                os.kill(forked.pid, caller.recv())
            except EOFError:
                os.kill(forked.pid, signal.SIGKILL)
                break
        forked.join()
        caller.send(forked.exitcode)


def _fork(
    environment: dict[str, str], log: Path, constants: Mapping[str, dict[str, Any]] | None = None
) -> ForkServerProcess:
    """Start a trainer with that environment, whose output is appended to the log."""
    forked = _FORKS.Process(target=_run, args=(environment, log, constants or {}), daemon=True)
    forked.start()
    return forked


def _run(environment: dict[str, str], log: Path, constants: Mapping[str, dict[str, Any]]) -> None:
    os.setsid()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    for module, values in constants.items():
        vars(importlib.import_module(module)).update(values)
    logging.getLogger().handlers.clear()  # the modules that were imported before have set up a log
    names = ("FEDSILO_RUN", "FEDSILO_RUN_SHA256", "FEDSILO_RUN_VERSION")
    sys.exit(trainer.main(RunIdentity(*(environment[name] for name in names))))
