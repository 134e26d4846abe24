"""The weighted mean of the silos' updates, as a running sum."""

from argparse import Namespace
from collections import OrderedDict
from typing import Any

import torch

from fedsilo import fedml_shim  # noqa: F401  (before FedML)
from fedsilo.messaging.codec import Tensors
from fedsilo.training.validation import check_parameters
from fedsilo.workload.base import Aggregator

from fedml.cross_silo.server.fedml_aggregator import FedMLAggregator


class StreamingAggregator(FedMLAggregator):  # type: ignore[misc]
    """FedML's aggregator with a running weighted sum, so that memory does not grow with the number of silos.

    It holds the global model and one sum. The update that is being added is a third model for that moment.
    """

    def __init__(self, args: Namespace, device: torch.device, aggregator: Aggregator, silos: int, holdout: Any) -> None:
        super().__init__(None, holdout, 0, {}, {}, {}, silos, device, args, aggregator)
        self._sum: OrderedDict[str, torch.Tensor] = OrderedDict()
        self.weight = 0
        """The weight of all updates in the sum, in samples."""

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
            if name in self._sum:
                self._sum[name].add_(tensor, alpha=sample_num)
            else:
                self._sum[name] = tensor.to(_sum_dtype(tensor.dtype)) * sample_num
        self.weight += sample_num

    def aggregate(self) -> None:
        """Make the weighted mean the global model and begin a new sum."""
        current = self.get_global_model_params()
        for name, total in self._sum.items():
            total.div_(self.weight)
            if not current[name].is_floating_point():
                total.round_()
            self._sum[name] = total.to(current[name].dtype)
        self.set_global_model_params(self.aggregator.on_after_aggregation(self._sum))
        self._sum, self.weight = OrderedDict(), 0


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which values of ``dtype`` are added up.

    Half precision would overflow. A counter, such as batch norm's, has a mean that is not an integer.
    """
    if not dtype.is_floating_point:
        return torch.float64
    return torch.promote_types(dtype, torch.float32)
