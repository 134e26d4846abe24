"""How an aggregator that was started again continues: the bucket holds all that it needs."""

from fedsilo import fedml_shim  # noqa: F401  (before FedML)
from fedsilo.errors import RunError
from fedsilo.ledger.writer import Ledger
from fedsilo.messaging.codec import Tensors
from fedsilo.messaging.messages import (
    ASKED,
    ASKED_ROUNDS,
    BINS,
    CONTRIBUTIONS,
    MODEL,
    REASON,
    REFUSED,
    WEIGHT_CAP,
    MailKind,
)
from fedsilo.messaging.notice import Notice
from fedsilo.states import Event
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.comm import MailCommManager
from fedsilo.training.rounds import Rounds
from fedsilo.training.validation import check_parameters


def resume(
    notice: Notice, rounds: Rounds, aggregator: StreamingAggregator, comm: MailCommManager, ledger: Ledger
) -> None:
    """Continue the round that an earlier aggregator had opened, with what the silos had sent before.

    Args:
        notice: The newest broadcast: the round's checkpoint.
        rounds: The rounds; none is open.
        aggregator: Takes the model.
        comm: Delivers the silos' mail.
        ledger: Takes what happened.
    """
    mail = comm.mailbox.open(notice)
    model: Tensors = mail.groups.get(MODEL, {})
    check_parameters(model, aggregator.get_global_model_params(), notice.key)
    aggregator.set_global_model_params(model)
    rounds.evaluations.resume(mail.fields.get(BINS))
    ledger.event(Event.RESUMED, mail.round_idx, "an earlier aggregator had opened this round")
    asked_rounds = mail.fields.get(ASKED_ROUNDS) or {}
    rounds.roster.resume(mail.round_idx, mail.fields.get(CONTRIBUTIONS) or {}, asked_rounds)
    _restore_refusals(rounds, comm)
    weight_cap = mail.fields.get(WEIGHT_CAP)
    if not isinstance(weight_cap, int):
        raise RunError(f"{notice.key}: the checkpoint has no weight cap; start another run")
    rounds.begin_round(mail.round_idx, weight_cap, mail.fields.get(ASKED), notice)
    for kind in (MailKind.STATUS, MailKind.UPDATE):
        for silo in rounds.roster:
            earlier = comm.mailbox.last(silo.name, kind)
            if earlier is not None and rounds.round_idx == mail.round_idx:
                comm.deliver(earlier)


def _restore_refusals(rounds: Rounds, comm: MailCommManager) -> None:
    """Refuse the silos that were refused before. The aggregator told each so, in a mail below its own prefix.

    A silo that was lost needs no such record, because its own status still says so.
    """
    for silo in rounds.roster:
        notice = comm.mailbox.last_sent(silo.name, MailKind.FINISH)
        fields = {} if notice is None else comm.mailbox.open(notice).fields
        if fields.get(REFUSED):
            rounds.roster.refuse(silo, fields[REASON])
