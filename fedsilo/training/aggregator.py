"""The weighted mean of the silos' updates, as running sums."""

from argparse import Namespace
from collections import OrderedDict
from typing import Any

import torch

from fedsilo import fedml_shim  # noqa: F401  (before FedML)
from fedsilo.errors import MailError, ModelError
from fedsilo.messaging.codec import Tensors
from fedsilo.training.mean import Sum, begin_sum
from fedsilo.training.validation import check_parameters
from fedsilo.workload import modes
from fedsilo.workload.base import Aggregator

from fedml.cross_silo.server.fedml_aggregator import FedMLAggregator


class StreamingAggregator(FedMLAggregator):  # type: ignore[misc]
    """FedML's aggregator with running weighted sums, so that memory does not grow with the number of silos.

    It holds the global model and one sum of each tensor. The update that is being added is a third model for that
    moment.
    """

    def __init__(self, args: Namespace, device: torch.device, aggregator: Aggregator, silos: int, holdout: Any) -> None:
        super().__init__(None, holdout, 0, {}, {}, {}, silos, device, args, aggregator)
        self._sums: OrderedDict[str, Sum] = OrderedDict()
        self._most = 0
        self.weight = 0
        """The weight of all updates in the sum, in samples."""

    def begin_round(self, most: int) -> None:
        """Forget what was added, and begin a new sum.

        Args:
            most: The most that the weights of all updates of the round can add up to.
        """
        self._sums, self._most, self.weight = OrderedDict(), most, 0

    def add_local_trained_result(self, index: int, model_params: Tensors, sample_num: int) -> None:
        """Add a silo's update to the sum.

        Args:
            index: FedML's number of the silo; a running sum has no use for it.
            model_params: The update, with the names, shapes and dtypes of the global model.
            sample_num: The weight of the update.

        Raises:
            MailError: The update does not fit the global model; the sum stays as it was.
        """
        check_parameters(model_params, self.get_global_model_params(), "the update")
        for name, tensor in model_params.items():
            if name in self._sums:
                self._sums[name].add(tensor, sample_num)
            else:
                self._sums[name] = begin_sum(tensor, sample_num, self._most)
        self.weight += sample_num

    def aggregate(self) -> None:
        """Make the weighted mean the global model, after the workload's ``on_after_aggregation``.

        Raises:
            ModelError: What ``on_after_aggregation`` returns can't be the model. The global model stays as it was.
        """
        # One by one, so that a sum is gone when the next mean is made.
        means = OrderedDict((name, self._sums.pop(name).mean(self.weight)) for name in list(self._sums))
        self.weight = 0
        with modes.unchanged(self.aggregator.model):
            model = self.aggregator.on_after_aggregation(means)
        try:
            check_parameters(model, self.get_global_model_params(), "the new global model")
        except MailError as error:
            raise ModelError(f"{error}; see on_after_aggregation of the workload's aggregator") from error
        self.set_global_model_params(model)
