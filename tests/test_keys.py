"""A mail's key says what it was made of, and no other text is the key of a mail."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedsilo.keys import MailAddress, RunKeys
from tests.support.strategies import NAMES, RUN_IDS

KEY = "runs/run-1/cleveland/outbox/aggregator/000007-update-000003.safetensors"


@given(
    run=RUN_IDS,
    sender=NAMES,
    receiver=NAMES,
    seq=st.integers(0, 999_999),
    kind=st.from_regex("[a-z]+", fullmatch=True),
    round_idx=st.integers(0, 999_999),
)
def test_a_mails_key_says_what_it_was_made_of(
    run: str, sender: str, receiver: str, seq: int, kind: str, round_idx: int
) -> None:
    address = RunKeys(run).mail(sender, receiver, seq, kind, round_idx)
    assert address == MailAddress(run, sender, receiver, seq, round_idx, kind)
    assert MailAddress.parse(address.key) == address
    assert address.key.startswith(RunKeys(run).party(sender)), "below the only prefix where the sender may write"


@given(run=RUN_IDS, round_idx=st.integers(0, 100_000))
def test_a_broadcasts_key_says_its_round(run: str, round_idx: int) -> None:
    address = RunKeys(run).broadcast(round_idx)
    assert address == MailAddress(run, "aggregator", "all", round_idx, round_idx, kind=None)
    assert MailAddress.parse(address.key) == address


@given(st.text() | st.text(alphabet="runs/abc-01.outbox_safetensors\n"))
def test_any_other_text_is_no_address(key: str) -> None:
    assert MailAddress.parse(key) is None


@given(place=st.integers(0, len(KEY) - 1), character=st.characters())
@example(len(KEY) - 1, "\n")
def test_a_key_with_one_character_changed_or_added_is_another_address_or_none(place: int, character: str) -> None:
    for changed in (KEY[:place] + character + KEY[place + 1 :], KEY[:place] + character + KEY[place:]):
        address = MailAddress.parse(changed)
        if address is not None:
            assert address.key == changed
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
        KEY.replace("-update-000003", "-update"),
        KEY.replace("-update-000003", "-000003"),
        KEY.replace("000003", "0000003"),
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
def test_a_text_that_is_nearly_a_mails_key_is_none(key: str) -> None:
    assert MailAddress.parse(KEY) is not None
    assert MailAddress.parse(key) is None
