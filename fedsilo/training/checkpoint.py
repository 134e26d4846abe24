"""A silo's checkpoint of the round that it trains: a trainer that is killed goes on from its last epoch.

It lies in the silo's own store, because it holds what the silo has learnt and the aggregator has not seen. There is one
object for a run, and it is removed once the round's update is sent.
"""

import logging
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from fedsilo import runtime, silo_store
from fedsilo.errors import FedsiloError
from fedsilo.silo_store import RUNS, SiloStore
from fedsilo.training import state_file
from fedsilo.workload.checkpoint import Checkpoint, Part

SAVE_SECONDS = 300.0
"""The shortest time between two checkpoints: how much work is lost at most, besides an epoch. Rounds that are shorter
keep nothing."""

log = logging.getLogger(__name__)


class RunCheckpoint(Checkpoint):
    """The checkpoint of one run."""

    def __init__(self, store: SiloStore, run_id: str) -> None:
        """Read what an earlier trainer of the run has left, and remove what ended runs have left.

        Raises:
            FedsiloError: The store can't be used.
        """
        silo_store.remove_other_runs(store, run_id)
        self._store, self._key = store, f"{RUNS}{run_id}/checkpoint"
        kept = store.get(self._key)
        self._stored = kept is not None
        self._earlier = None if kept is None else kept.body
        self._loop: dict[str, Any] = {}

    def begin(self, round_idx: int, broadcast: str) -> None:
        """As ``Checkpoint.begin``."""
        self._loop = {"round": round_idx, "broadcast": broadcast, "loop": -1}

    def epochs(self, count: int, **parts: Part) -> Iterator[int]:
        """As ``Checkpoint.epochs``. A round may have several such loops, one after the other."""
        self._loop = self._loop | {"loop": self._loop["loop"] + 1}
        saved = runtime.monotonic()
        for epoch in range(self._restore(parts, count), count):
            yield epoch
            if runtime.monotonic() - saved >= SAVE_SECONDS:
                self._save(epoch + 1, parts)
                saved = runtime.monotonic()

    def finish(self) -> None:
        """As ``Checkpoint.finish``. An error of the store is logged: the next round's checkpoint replaces this one."""
        self._earlier = None
        if self._stored:
            try:
                self._store.delete(self._key)
                self._stored = False
            except FedsiloError as error:
                log.warning("the checkpoint of the round that is over was not removed: %s", error)

    def _restore(self, parts: Mapping[str, Part], count: int) -> int:
        """Go back to where an earlier trainer was in this loop. Returns the epoch to go on with."""
        if self._earlier is None:
            return 0
        try:
            state = state_file.loads(self._earlier)
            kept, loop = state["of"], self._loop["loop"]
            if kept != self._loop | {"loop": kept["loop"]} or kept["loop"] < loop:
                self._earlier = None  # of another round, or of a loop that is over
                return 0
            if kept["loop"] > loop:
                return count  # this loop was over; a later one restores what the parts are by then
            for name, part in parts.items():
                _set_state(part, state["parts"][name])
            _set_random_states(state["random"])
        except Exception:
            self._store.delete(self._key)  # such as that of another version of the workload: the next try begins anew
            raise
        self._earlier = None
        log.info("round %d: goes on with epoch %d of %d", kept["round"], state["epoch"], count)
        return int(state["epoch"])

    def _save(self, epoch: int, parts: Mapping[str, Part]) -> None:
        """Keep what the parts are before an epoch. An error of the store is logged: the round goes on without."""
        states = {name: _state(part) for name, part in parts.items()}
        body = state_file.dumps({"of": self._loop, "epoch": epoch, "parts": states, "random": _random_states()})
        try:
            self._stored = True  # or the call's answer was lost
            self._store.put(self._key, body)
        except FedsiloError as error:
            log.warning("epoch %d was not kept, and would be trained again after a restart: %s", epoch - 1, error)


def _state(part: Part) -> Any:
    match part:
        case torch.Generator():
            return part.get_state()
        case np.random.Generator():
            return part.bit_generator.state
        case _:
            return part.state_dict()


def _set_state(part: Part, state: Any) -> None:
    match part:
        case torch.Generator():
            part.set_state(state)
        case np.random.Generator():
            part.bit_generator.state = state
        case _:
            part.load_state_dict(state)


def _random_states() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_states(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
