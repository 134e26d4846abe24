"""Names agree on both sides of an account boundary, fit AWS's limits, and nothing that is no mail's key is one."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedsilo import names
from fedsilo.keys import MailAddress, RunKeys
from tests.support.strategies import NAMES, RUN_IDS

KEY = "runs/run-1/cleveland/outbox/aggregator/000007-update.safetensors"


@given(
    run=RUN_IDS, sender=NAMES, receiver=NAMES, seq=st.integers(0, 999_999), kind=st.from_regex("[a-z]+", fullmatch=True)
)
def test_a_mails_key_says_what_it_was_made_of(run: str, sender: str, receiver: str, seq: int, kind: str) -> None:
    key = RunKeys(run).mail(sender, receiver, seq, kind)
    assert MailAddress.parse(key) == MailAddress(run, sender, receiver, seq)
    assert key.startswith(RunKeys(run).party(sender)), "below the only prefix where the sender may write"


@given(run=RUN_IDS, round_idx=st.integers(0, 100_000))
def test_a_broadcasts_key_says_its_round(run: str, round_idx: int) -> None:
    address = MailAddress.parse(RunKeys(run).broadcast(round_idx))
    assert address == MailAddress(run, "aggregator", "all", round_idx)


@given(st.text() | st.text(alphabet="runs/abc-01.outbox_safetensors\n"))
def test_junk_is_no_address(key: str) -> None:
    assert MailAddress.parse(key) is None


@given(place=st.integers(0, len(KEY) - 1), character=st.characters())
@example(len(KEY) - 1, "\n")
def test_a_key_with_a_character_changed_or_added_is_another_address_or_none(place: int, character: str) -> None:
    for changed in (KEY[:place] + character + KEY[place + 1 :], KEY[:place] + character + KEY[place:]):
        address = MailAddress.parse(changed)
        if address is not None:
            assert changed.startswith(
                f"runs/{address.run}/{address.sender}/outbox/{address.receiver}/{address.seq:06d}"
            )
            for part in (address.run, address.sender, address.receiver):
                assert re.fullmatch("[a-z0-9-]+", part)


@pytest.mark.parametrize(
    "key",
    [
        f"{KEY}\n",
        f"\n{KEY}",
        f"/{KEY}",
        KEY.upper(),
        KEY.replace("runs/", "runs//"),
        KEY.replace("cleveland", "../hungary"),
        KEY.replace("cleveland", ".."),
        KEY.replace("cleveland", "cleveland/../hungary"),
        KEY.replace("cleveland", "cleveland/outbox/hungary"),
        KEY.replace("cleveland", ""),
        KEY.replace("cleveland", "c" * 21),
        KEY.replace("cleveland", "clevelánd"),
        KEY.replace("000007", "00007"),
        KEY.replace("000007", "0000007"),
        KEY.replace("000007", "00000٧"),  # noqa: RUF001
        KEY.replace("000007", "-00007"),
        KEY.replace("-update", "-"),
        KEY.replace("-update", "-update-update"),
        KEY.replace("update", "UPDATE"),
        KEY.replace("outbox", "inbox"),
        KEY.replace(".safetensors", ".pickle"),
        KEY.replace(".safetensors", "xsafetensors"),
        f"{KEY}/",
        f"{KEY}?versionId=1",
        f"{KEY}%00",
        f"{KEY}\0",
        "",
        "runs/run-1/run.json",
        "runs/run-1/cleveland/status.json",
        "runs/run-1/cleveland/model.safetensors",
    ],
)
def test_what_is_nearly_a_mails_key_is_none(key: str) -> None:
    assert MailAddress.parse(KEY) is not None
    assert MailAddress.parse(key) is None


def test_names_are_those_that_the_other_side_expects() -> None:
    assert names.mail_bucket("heart", "111111111111", "us-east-1") == "heart-mail-111111111111-us-east-1"
    assert (
        names.data_bucket("heart", "cleveland", "111111111111", "us-east-1") == "heart-cleveland-111111111111-us-east-1"
    )
    assert names.data_queue("heart", "cleveland") == "heart-cleveland-data.fifo"
    assert names.control_queue("heart", "cleveland") == "heart-cleveland-control.fifo"
    assert names.dead_letter_queue("heart", "cleveland") == "heart-cleveland-dead.fifo"
    assert (names.trainer_role("heart", "cleveland"), names.agent_role("heart", "cleveland")) == (
        "heart-cleveland-trainer",
        "heart-cleveland-agent",
    )
    assert [names.experiment("heart", rank) for rank in (0, 1, 4)] == [
        "heart-server",
        "heart-client-1",
        "heart-client-4",
    ]


LONGEST = "n" * 20
ACCOUNT, REGION = "1" * 12, "ap-southeast-7"


def test_the_longest_names_are_within_aws_limits() -> None:
    assert len(names.mail_bucket(LONGEST, ACCOUNT, REGION)) <= 63
    for queue in (names.data_queue, names.control_queue, names.dead_letter_queue):
        assert len(queue(LONGEST, LONGEST)) <= 80
    for role in (names.trainer_role, names.agent_role):
        assert len(role(LONGEST, LONGEST)) <= 64
