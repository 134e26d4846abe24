"""What the trainers of a run say to each other: the kinds of mail, and the names of what a mail holds.

A mail holds fields, which are JSON values, and groups of named tensors. Sender and receiver share the names below.
FedML's own fields, such as ``num_samples``, have their names from FedML.
"""

from enum import StrEnum


class MailKind(StrEnum):
    """The kinds of mail."""

    SYNC = "sync"
    """From the aggregator to all silos: the global model that opens a round."""
    FINISH = "finish"
    """From the aggregator to a silo: its part in the run has ended, and why."""
    UPDATE = "update"
    """From a silo: its model of the open round, and its evaluation of the model that opened the round."""
    STATUS = "status"
    """From a silo: it waits for a round, or has evaluated the final model."""


FROM_AGGREGATOR = frozenset({MailKind.SYNC, MailKind.FINISH})
"""The kinds that only the aggregator sends; a silo sends the others."""

MODEL = "model"
"""The group of tensors that are the model's parameters and buffers."""

STATISTICS = "statistics"
"""The group of sums over a silo's training data, from which the aggregator makes the first model."""

EVALUATION = "evaluation"
"""The group of sums that a silo's test of the global model gives."""

SUMS = (STATISTICS, EVALUATION)
"""The groups that hold sums over samples: tensors that may be added up over the silos."""

ROUND = "round_idx"
"""The round that a mail belongs to, from 0."""

BINS = "bins"
"""The bins for the histograms of the evaluation, as numbers that the workload knows to read; None without any."""

CONTRIBUTIONS = "contributions"
"""Of a broadcast: to how many rounds each silo has contributed, by its name. A restarted aggregator goes on with it."""

ASKED = "asked"
"""Of a broadcast: the names of the silos that the round asks for an update; None if it asks all."""

ASKED_ROUNDS = "asked_rounds"
"""Of a broadcast: how many closed rounds have asked each silo, by its name. A restarted aggregator goes on with it."""

WEIGHT_CAP = "weight_cap"
"""Of a broadcast: the most that an update of the round weighs, in samples. A restarted aggregator goes on with it."""

REASON = "reason"
"""Why a silo's part has ended, or why a mail could not be opened."""

REFUSED = "refused"
"""True where the aggregator ended the silo's part, false where the whole run has failed."""
