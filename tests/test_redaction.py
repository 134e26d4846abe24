"""Of a trainer's log, fedsilo's own records leave the party, without secrets; nothing else does."""

import time

import pytest

from fedsilo import redaction

OWN = "2026-11-22 10:08:31,123 INFO fedsilo.ledger: round 7: opened: 4 silos"


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"{OWN} AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        (f"{OWN} aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
        (f"{OWN} key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
        (f"{OWN} {{'Authorization': 'Bearer abc.def-123'}}", "abc.def"),
        (f"{OWN} https://b.s3.amazonaws.com/k?X-Amz-Signature=0f3a&X-Amz-Date=1", "0f3a"),
        (f"{OWN} https://user:pa55@host/", "pa55"),
        (f"{OWN} api_key: 1f2e3d", "1f2e3d"),
    ],
)
def test_a_secret_is_masked(line: str, secret: str) -> None:
    assert secret in line
    assert secret not in redaction.own_records(line)
    assert redaction.MASK in redaction.own_records(line)


@pytest.mark.parametrize(
    "line",
    [
        "John Smith, born 1953-02-01",
        "patient_id=AB4711",
        "   age  sex  chol\n0   63    1   233",
        "tensor([[63., 145., 233., 150.]])",
        "ValueError: 'John Smith' is not in list",
        "Traceback (most recent call last):",
        '  File "/app/workloads/heart_disease/data.py", line 133, in read',
        f"  {OWN}",
        f"John Smith{OWN}",
        "2026-11-22 10:08:31,123 WARNING root: John Smith",
        "2026-11-22 10:08:31,123 WARNING fedsilo_workloads.stroke: John Smith",
        "2026-11-22 10:08:31,123 WARNING workloads.stroke: John Smith",
        "--- pod John Smith",
        "",
    ],
)
def test_what_fedsilo_did_not_log_stays_with_the_party(line: str) -> None:
    assert redaction.own_records(f"{OWN}\n{line}\n{OWN}\n") == f"{OWN}\n{OWN}\n"


@pytest.mark.parametrize(
    "line",
    [
        OWN,
        "2026-11-22 10:08:31,123 WARNING fedsilo.mail: cleveland declares 4000 samples; they weigh as 2940",
        "2026-11-22 10:08:31,123 INFO fedsilo.trainer: cleveland takes part in run heart-20261122-081500-3f",
        "2026-11-22 10:08:31,123 ERROR fedsilo.trainer: conv has shape [16, 3, 3, 3], the model's [8, 3, 3, 3]",
        "2026-11-22 10:08:31,123 ERROR fedsilo.trainer: heart.csv: line 128, column age: not a number",
        "2026-11-22 10:08:31,123 ERROR fedsilo.trainer: workload: 'cats' is not one of heart_disease, mlp",
        "--- pod trainer-heart-1-x7x2p",
    ],
)
def test_fedsilos_own_line_stays_as_it_is(line: str) -> None:
    assert redaction.own_records(line) == f"{line}\n"


HOSTILE = [
    "1",
    "1e",
    "1.",
    "-1 ",
    "1 2 3 x ",
    "1\t",
    ".",
    "\t",
    " ",
    "'",
    '"',
    "\\'",
    "'\\",
    "A",
    "aA1+",
    "AKIA-",
    "eyJ-",
    "eyJaaaaaaaa.",
    "secret-",
    "secret ",
    "api_key",
    "token=",
    "://a:",
    "bearer ",
    "basic ",
    "X-Amz-Signature",
    ' File "',
]


@pytest.mark.parametrize("repeated", HOSTILE)
def test_no_line_keeps_the_agent_busy(repeated: str) -> None:
    uncut = repeated * ((redaction.LONGEST_LINE - 60) // len(repeated))
    for hostile in (repeated * (100_000 // len(repeated)), uncut):
        for start in ("", "x ", f"{OWN} "):
            began = time.process_time()
            masked = redaction.without_secrets(start + hostile)
            redaction.own_records(start + hostile)
            assert time.process_time() - began < 0.5
            assert len(masked) <= 2 * redaction.LONGEST_LINE


def test_a_long_line_is_cut_and_shows_no_half_of_a_secret() -> None:
    filler = "words " * (redaction.LONGEST_LINE // 6 - 3)
    masked = redaction.without_secrets(f"error: {filler}wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY {filler}")
    assert masked.endswith(("…", "…]"))
    assert "wJal" not in masked
    assert len(masked) <= redaction.LONGEST_LINE + 10
