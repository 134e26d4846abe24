"""A workload whose silos have parts of its pooled data, as ``fedsilo simulate --partition`` makes them."""

from argparse import Namespace
from typing import Any, cast

import numpy as np

from fedsilo.config.environment import Settings
from fedsilo.config.run import Run
from fedsilo.errors import SpecError
from fedsilo.names import AGGREGATOR
from fedsilo.simulation.hub import ACCOUNT
from fedsilo.simulation.partition import Partition
from fedsilo.training.session import arguments
from fedsilo.workload import registry
from fedsilo.workload.registry import PooledWorkload, SiloData, Workload


def partitioned(run: Run, partition: Partition, min_samples: int) -> Workload:
    """The run's workload with pooled data that are split among the run's silos.

    Args:
        run: The run; its seed decides the split, too.
        partition: How the data are split.
        min_samples: The training samples that each silo must have.

    Raises:
        SpecError: The workload has no pooled data, or too few samples for so many silos.
    """
    workload = registry.load(run.workload)
    if not hasattr(workload, "load_pooled"):
        raise SpecError(f"partition: workload {run.workload} gives no pooled data (load_pooled)")
    return cast(Workload, _Partitioned(cast(PooledWorkload, workload), run, partition, min_samples))


class _Partitioned:
    """A workload whose ``load_silo`` gives a part of the pooled data. All else is the workload's own."""

    def __init__(self, workload: PooledWorkload, run: Run, partition: Partition, min_samples: int) -> None:
        self._workload = workload
        aggregator = Settings(
            federation=run.federation, party=AGGREGATOR, rank=0, hub_account=ACCOUNT, hub_region="us-east-1"
        )
        self._pool = workload.load_pooled(arguments(aggregator, run))
        silos, most = len(run.silos), self._pool.num_train // min_samples
        if silos > most:
            raise SpecError(
                f"silos: {self._pool.num_train} training samples are enough for {most} silos of {min_samples} "
                f"(policy.min_samples), and the run has {silos}"
            )
        sets = [np.asarray(workload.labels(each), dtype=np.int64) for each in (self._pool.train, self._pool.test)]
        self._train, self._test = partition.split(sets, silos, run.seed)

    def load_silo(self, args: Namespace) -> SiloData:
        """The silo's part of the pool."""
        train, test = self._train[args.rank - 1], self._test[args.rank - 1]
        subset = self._workload.subset
        return SiloData(subset(self._pool.train, train), subset(self._pool.test, test), len(train))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workload, name)
