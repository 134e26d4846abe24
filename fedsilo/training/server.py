"""The aggregator's side of the rounds: FedML's server manager and aggregator, over mail.

What FedML 0.9.6 leaves open is closed here: rounds have a number, a deadline and a quorum; updates are added to a
running sum as they arrive; silos may come late and come back; and the broadcast that opens a round is the checkpoint
from which an aggregator that was started again goes on.
"""

import logging
import math
import statistics
import time
from argparse import Namespace
from collections import Counter, OrderedDict
from typing import Any

import torch

from fedsilo import fedml_shim  # noqa: F401  (before FedML)
from fedsilo.config.run import Run
from fedsilo.errors import FedsiloError, MailError, RunError
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import Reader
from fedsilo.ledger.writer import Ledger
from fedsilo.messaging.mailbox import Notice
from fedsilo.messaging.messages import EVALUATION, MODEL, REASON, REFUSED, ROUND, STATISTICS, MailKind
from fedsilo.states import FAILED_STATES, PartyState
from fedsilo.text import plain
from fedsilo.training.comm import MailCommManager, MailManagerMixin
from fedsilo.training.tracking import Tracker
from fedsilo.training.validation import Tensors, check_parameters, finite
from fedsilo.workload.base import BAD_SUMS_ERRORS, Aggregator, Sums, metrics_of

from fedml.core.distributed.communication.message import Message
from fedml.cross_silo.server.fedml_aggregator import FedMLAggregator
from fedml.cross_silo.server.fedml_server_manager import FedMLServerManager
from fedml.cross_silo.server.message_define import MyMessage

MOST_SAMPLES = 10**12
"""What a silo may declare at most; more is no count of anything."""

LOOK_SECONDS = 5.0
"""How often an aggregator that waits looks whether those it waits for have ended: a GET of each one's status."""

WEIGHT_CAP = 10
"""No silo weighs more than this many times the median silo: bounds what a false sample count can do."""

log = logging.getLogger(__name__)


class StreamingAggregator(FedMLAggregator):  # type: ignore[misc]
    """FedML's aggregator with a running weighted sum, so that memory does not grow with the number of silos.

    It holds the global model and one sum; the update that is being added is a third model for that moment.
    """

    def __init__(self, args: Namespace, device: torch.device, aggregator: Aggregator, silos: int, holdout: Any) -> None:
        super().__init__(None, holdout, 0, {}, {}, {}, silos, device, args, aggregator)
        self._sum: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._weight = 0

    def add_local_trained_result(self, index: int, model_params: Tensors, sample_num: int) -> None:
        """Add a silo's update with weight ``sample_num``. Raises ``MailError`` where it is not the model's."""
        check_parameters(model_params, self.get_global_model_params(), "the update")
        for name, tensor in model_params.items():
            if name in self._sum:
                self._sum[name].add_(tensor, alpha=sample_num)
            else:
                self._sum[name] = tensor.to(_exact(tensor.dtype)) * sample_num
        self._weight += sample_num
        self.flag_client_model_uploaded_dict[index] = True

    @property
    def answered(self) -> set[int]:
        """The indices (ranks from 0) of the silos whose updates are in the sum."""
        return {index for index, flag in self.flag_client_model_uploaded_dict.items() if flag}

    def aggregate(self) -> None:
        """Make the weighted mean the global model and begin a new sum."""
        current = self.get_global_model_params()
        for name, total in self._sum.items():
            total.div_(self._weight)
            if not current[name].is_floating_point():
                total.round_()
            self._sum[name] = total.to(current[name].dtype)
        self.set_global_model_params(self.aggregator.on_after_aggregation(self._sum))
        self._sum, self._weight = OrderedDict(), 0
        for index in self.flag_client_model_uploaded_dict:
            self.flag_client_model_uploaded_dict[index] = False


class AggregatorManager(MailManagerMixin, FedMLServerManager):  # type: ignore[misc]
    """Opens and closes rounds. Raises ``RunError`` from ``run`` where the run can't go on."""

    def __init__(
        self,
        args: Namespace,
        aggregator: StreamingAggregator,
        comm: MailCommManager,
        run: Run,
        ledger: Ledger,
        tracker: Tracker,
    ) -> None:
        self._comm, self._run, self._ledger, self._tracker = comm, run, ledger, tracker
        super().__init__(args, aggregator, client_rank=0, client_num=len(run.silos), backend="MAIL")
        self._present: set[str] = set()  # silos that are waited for
        self._refused: dict[str, str] = {}
        self._lost: dict[str, str] = {}  # silos that say themselves that their part is over, and why
        self._samples: dict[str, int] = {}  # what each silo declared when it came ONLINE
        self._statistics: dict[str, Sums] = {}
        self._evaluations: dict[str, Sums] = {}  # of the global model that opened the round
        self._finished: set[str] = set()
        self._open: Notice | None = None  # the broadcast of the open round; None before round 0
        self._deadline = self._look_at = 0.0
        party = comm.mailbox.settings
        self._reader = Reader(MailBucket.of(party, party.role, attempts=1))

    # --- FedML's hooks

    def handle_message_connection_ready(self, msg_params: Message) -> None:
        """Wait for the silos, or go on with the round that was open when an earlier aggregator ended."""
        notice = self._comm.mailbox.newest_broadcast()
        if notice is None:
            self._wait(self._run.join_seconds, look_in=0.0)
            self._show(PartyState.WAITING)
            return
        mail = self._comm.mailbox.open(notice)
        check_parameters(mail.groups.get(MODEL, {}), self.aggregator.get_global_model_params(), notice.key)
        self.aggregator.set_global_model_params(mail.groups.get(MODEL, {}))
        self._ledger.event("resumed", mail.round_idx, "an earlier aggregator had opened this round")
        self._present = set(self._run.silos)
        self._begin_round(mail.round_idx, notice)
        for kind in (MailKind.STATUS, MailKind.UPDATE):
            for silo in self._run.silos:
                earlier = self._comm.mailbox.last(silo, kind)
                if earlier is not None and self.args.round_idx == mail.round_idx:
                    self._comm.deliver(earlier)

    def process_online_status(self, client_status: str, msg_params: Message) -> None:
        """A silo has come, or come back, or shows that it is still there."""
        silo = self._sender(msg_params)
        if not self._take_samples(silo, msg_params):
            return
        if self._open is None:
            self._present.add(silo)
            self._statistics[silo] = msg_params.get(STATISTICS) or {}
            self._show(PartyState.WAITING)
            self._go_on()
            return
        if silo not in self._present:
            self._present.add(silo)
            self._ledger.event("joined", self.args.round_idx, f"{silo} is here")
        if silo in self._missing():
            self._comm.mailbox.remind(silo, self._open)
        self._show()

    def process_finished_status(self, client_status: str, msg_params: Message) -> None:
        """A silo has the final model; its evaluation of it comes along."""
        silo = self._sender(msg_params)
        if self.args.round_idx < self.round_num:
            return
        self._evaluations[silo] = msg_params.get(EVALUATION) or {}
        self._finished.add(silo)
        self._show()
        self._go_on()

    def handle_message_client_status_update(self, msg_params: Message) -> None:
        if self._sender(msg_params) not in self._refused:
            super().handle_message_client_status_update(msg_params)

    def handle_message_receive_model_from_client(self, msg_params: Message) -> None:
        """Add a silo's update to the open round, and close the round when it was the last."""
        silo, round_idx = self._sender(msg_params), msg_params.get(ROUND)
        if silo in self._refused:
            return
        if self._open is None or round_idx != self.args.round_idx or silo in self._answering():
            self._ledger.event("late", self.args.round_idx, f"{silo} answered round {round_idx}; dropped")
            return
        if not self._take_samples(silo, msg_params):
            return
        try:
            with self._ledger.span("aggregate", round_idx):
                parameters = msg_params.get(MyMessage.MSG_ARG_KEY_MODEL_PARAMS) or {}
                self.aggregator.add_local_trained_result(self._run.rank(silo) - 1, parameters, self._weight(silo))
        except MailError as error:
            self._refuse(silo, str(error))
            return
        self._evaluations[silo] = msg_params.get(EVALUATION) or {}
        self._present.add(silo)
        self._show()
        self._go_on()

    # --- rounds

    def _open_first_round(self) -> None:
        for silo, reason in self._odd(self._statistics).items():
            self._refuse(silo, f"its statistic is {reason}")
            return  # refusing looks again whether the round can open
        totals = _total(self._statistics)
        try:
            if totals:
                self.aggregator.aggregator.apply_statistics(totals)
            check_parameters(model := self.aggregator.get_global_model_params(), model, "the model")
        except (*BAD_SUMS_ERRORS, MailError) as error:
            self._fail(f"the silos' statistics make no model ({type(error).__name__}: {error})")
        self._broadcast(0)

    def _broadcast(self, round_idx: int) -> None:
        notice = self._comm.broadcast(self._left(), round_idx, self.aggregator.get_global_model_params())
        self._begin_round(round_idx, notice)

    def _begin_round(self, round_idx: int, notice: Notice) -> None:
        self.args.round_idx = round_idx
        self._open = notice
        self._evaluations = {}
        self._wait(self._run.deadline_seconds, look_in=LOOK_SECONDS)
        self._ledger.event("opened", round_idx, f"{len(self._left())} silos")
        self._show(PartyState.FINISHING if round_idx == self.round_num else PartyState.TRAINING)

    def _go_on(self) -> None:
        """Open or close a round if nobody is waited for any more; end the run if there can be no quorum."""
        if self._final:
            if not self._missing():
                self._end()
            return
        left = self._left()
        if len(left) < self._run.quorum:
            lost = (("refused", self._refused), ("lost", self._lost))
            told = (f"{how} {', '.join(f'{silo} ({why})' for silo, why in of.items())}" for how, of in lost if of)
            self._fail("; ".join(told))
        if self._open is None:
            if self._present >= set(left):
                self._open_first_round()
        elif not self._missing() and len(self.aggregator.answered) >= self._run.quorum:
            self._close_round()

    def _close_round(self) -> None:
        round_idx = self.args.round_idx
        self._log_evaluation(round_idx)
        with self._ledger.span("aggregate", round_idx):
            self.aggregator.aggregate()
        self._broadcast(round_idx + 1)

    def _handle_tick(self, message: Message) -> None:
        now = time.monotonic()
        if now >= self._deadline:
            self._close_at_deadline()
        elif now >= self._look_at:
            self._wait(self._deadline - now, look_in=LOOK_SECONDS)
            self._look()

    def _wait(self, seconds: float, *, look_in: float) -> None:
        """Be woken when ``seconds`` are over, at the latest, and look at silos in ``look_in`` seconds."""
        now = time.monotonic()
        self._deadline, self._look_at = now + seconds, now + look_in
        self._comm.wake_at = min(self._deadline, self._look_at)

    def _look(self) -> None:
        """See which of the silos that are waited for say that their part is over. It is their word on themselves."""
        done = set() if self._open is None else self._done()
        waited_for = [silo for silo in self._left() if silo not in done]
        try:
            words = self._reader.statuses(self._run, waited_for)
        except FedsiloError as error:
            log.warning("the silos' statuses can't be read: %s", error)
            return
        lost = {
            silo: f"{word.state}: {plain(word.reason, 200)}"
            for silo, word in words.items()
            if word.state in FAILED_STATES
        }
        for silo, why in lost.items():
            self._lost[silo] = why
            self._present.discard(silo)
            self._statistics.pop(silo, None)
            self._ledger.event("lost", self.args.round_idx, f"{silo}: {why}")
        if lost:
            self._show()
            self._go_on()

    def _close_at_deadline(self) -> None:
        if self._open is None:
            if len(self._present) < self._run.quorum:
                self._fail(
                    f"{len(self._present)} of {len(self._run.silos)} silos came within {self._run.join_seconds:g} s"
                )
            self._open_first_round()
        elif self._final:
            self._end()
        else:
            answered = len(self.aggregator.answered)
            missing = self._missing()
            if answered < self._run.quorum:
                self._fail(
                    f"round {self.args.round_idx}: {answered} of {len(self._run.silos)} silos answered within "
                    f"{self._run.deadline_seconds:g} s"
                )
            self._ledger.event(
                "deadline", self.args.round_idx, f"closed with {answered}; missing {', '.join(sorted(missing))}"
            )
            self._present -= missing  # not waited for until they are back
            self._close_round()

    def _end(self) -> None:
        self._log_evaluation(self.args.round_idx)
        self._comm.mailbox.publish_model(self.aggregator.get_global_model_params())
        self._deadline = self._look_at = math.inf
        self._ledger.event("finished", self.args.round_idx, f"model published; {len(self._finished)} silos have it")
        self.finish()

    def _fail(self, reason: str) -> None:
        missing = sorted(set(self._run.silos) - self._answering())
        reason = f"{reason}; the quorum is {self._run.quorum}; missing {', '.join(missing)}"
        for silo in self._run.silos:
            if silo not in self._lost:
                self._send_finish(silo, reason, refused=False)
        raise RunError(reason)

    # --- silos

    def _sender(self, message: Message) -> str:
        return str(self._run.silos[message.get_sender_id() - 1])

    def _left(self) -> list[str]:
        """The silos that take part, or still may."""
        return [silo for silo in self._run.silos if silo not in self._refused and silo not in self._lost]

    @property
    def _final(self) -> bool:
        """Whether the open round is the last one, which hands out the final model."""
        return self._open is not None and self.args.round_idx == self.round_num

    def _done(self) -> set[str]:
        """The silos that have done what the open round asks of them."""
        return self._finished if self._final else self._answering()

    def _answering(self) -> set[str]:
        if self._open is None:
            return self._present
        return {self._run.silos[index] for index in self.aggregator.answered}

    def _missing(self) -> set[str]:
        """The silos that the open round waits for."""
        return self._present - self._done()

    def _handle_bad_mail(self, message: Message) -> None:
        if self._sender(message) not in self._refused:
            self._refuse(self._sender(message), message.get(REASON))

    def _refuse(self, silo: str, reason: str) -> None:
        """End a silo's part in the run with a reason, and go on without it while the quorum holds."""
        self._refused[silo] = reason
        self._present.discard(silo)
        self._statistics.pop(silo, None)
        self._evaluations.pop(silo, None)
        self._ledger.event("refused", self.args.round_idx, f"{silo}: {reason}")
        self._send_finish(silo, f"refused by the aggregator: {reason}", refused=True)
        self._show()
        self._go_on()

    def _send_finish(self, silo: str, reason: str, *, refused: bool) -> None:
        message = Message(MyMessage.MSG_TYPE_S2C_FINISH, self.rank, self._run.rank(silo))
        message.add_params(REASON, reason)
        message.add_params(REFUSED, refused)
        message.add_params(ROUND, self.args.round_idx)
        self.send_message(message)

    def _take_samples(self, silo: str, message: Message) -> bool:
        samples = message.get(MyMessage.MSG_ARG_KEY_NUM_SAMPLES)
        if type(samples) is not int or not 1 <= samples <= MOST_SAMPLES:
            self._refuse(silo, f"declares {samples!r:.40} training samples")
            return False
        if self._samples.setdefault(silo, samples) != samples:
            self._refuse(silo, f"declares {samples} training samples, but had declared {self._samples[silo]}")
            return False
        self._lost.pop(silo, None)  # it is heard of again
        return True

    def _weight(self, silo: str) -> int:
        """The silo's sample count, capped."""
        cap = int(WEIGHT_CAP * statistics.median_low(self._samples.values()))
        if self._samples[silo] > cap:
            log.warning("%s declares %d samples; they weigh as %d", silo, self._samples[silo], cap)
        return min(self._samples[silo], cap)

    # --- sums

    def _log_evaluation(self, round_idx: int) -> None:
        """Log the metrics of the model that opened ``round_idx``: it is the result of that many rounds."""
        aggregator = self.aggregator.aggregator
        for silo, reason in self._odd(self._evaluations).items():
            del self._evaluations[silo]
            self._ledger.event("ignored", round_idx, f"{silo}: its evaluation is {reason}")
        if self.aggregator.test_global is None:
            totals = _total(self._evaluations)
        else:
            totals = aggregator.test(self.aggregator.test_global, self.aggregator.device, self.args)
        if not totals or not round_idx:
            return
        for silo, sums in sorted(self._evaluations.items()):
            for name, value in metrics_of(aggregator, sums).items():
                self._ledger.metric(name, value, round_idx, silo=silo)
        metrics = metrics_of(aggregator, totals)
        for name, value in metrics.items():
            self._tracker.log_metric(name, value, round_idx)
        self._ledger.status(metrics=metrics)

    def _odd(self, sums: dict[str, Sums]) -> dict[str, str]:
        """The silos whose sums can't be added to those of most others, each with the reason."""
        forms = {silo: _form(tensors) for silo, tensors in sums.items()}
        usual = Counter(forms.values()).most_common(1)
        odd = {silo: "not like that of the others" for silo, form in forms.items() if form != usual[0][0]}
        for silo in sums.keys() - odd.keys():
            tensors = sums[silo]
            if any(tensor.dtype not in (torch.float64, torch.int64) for tensor in tensors.values()):
                odd[silo] = "neither float64 nor int64"  # torch can't tell of every dtype whether it is finite
            elif not all(map(finite, tensors.values())):
                odd[silo] = "not finite"
        return odd

    def _show(self, state: str | None = None) -> None:
        self._ledger.status(
            round=self.args.round_idx,
            answered=sorted(self._done()),
            present=sorted(self._present),
            refused=self._refused,
            **({"state": state} if state else {}),
        )


def _exact(dtype: torch.dtype) -> torch.dtype:
    """What values of ``dtype`` are added up in: half precision would overflow, and counters (as of batch norm) have
    a mean that is no integer."""
    if not dtype.is_floating_point:
        return torch.float64
    return torch.promote_types(dtype, torch.float32)


def _form(sums: Sums) -> tuple[tuple[str, torch.dtype, torch.Size], ...]:
    return tuple((name, tensor.dtype, tensor.shape) for name, tensor in sorted(sums.items()))


def _total(sums: dict[str, Sums]) -> Sums:
    """Added up over the silos, in the order of their names."""
    silos = sorted(sums)
    return {name: torch.stack([sums[silo][name] for silo in silos]).sum(0) for name in sums[silos[0]]} if silos else {}
