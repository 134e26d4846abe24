"""A trainer's log leaves the party without secrets and values of data; the rest stays readable."""

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
        ("ValueError: could not convert string to float: '63.5y'", "63.5y"),
        ("KeyError: 'Smith, John'", "Smith"),
        ("IndexError: index 63 is out of bounds", "63"),
        ("tensor([[63., 145., 233., 150.]])", "145"),
        ("63.0,1.0,1.0,145.0,233.0,1.0", "145"),
        (f"{OWN} 63.0,1.0,1.0,145.0,233.0", "145"),
        ("2026-11-22 10:08:31,123 ERROR fedsilo.trainer: line 9, column age: '63y' is not a number", "63y"),
    ],
)
def test_a_secret_or_a_value_is_masked(line: str, secret: str) -> None:
    assert secret in line
    assert secret not in redaction.text(line)
    assert redaction.MASK in redaction.text(line)


@pytest.mark.parametrize(
    "line",
    [
        OWN,
        "2026-11-22 10:08:31,123 WARNING fedsilo.mail: cleveland declares 4000 samples; they weigh as 2940",
        "2026-11-22 10:08:31,123 INFO fedsilo.trainer: cleveland takes part in run heart-20261122-081500-3f",
        "Traceback (most recent call last):",
        '  File "/app/workloads/heart_disease/data.py", line 133, in read',
        "RuntimeError: out of memory",
        "--- pod trainer-heart-1-x7x2p",
    ],
)
def test_a_line_that_an_operator_needs_stays(line: str) -> None:
    assert redaction.text(line) == f"{line}\n"


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
    tabs = "\t" * (redaction.LONGEST_LINE // 4)
    for hostile in (repeated * (100_000 // len(repeated)), uncut, f"1{tabs}1{tabs}1{tabs}{repeated}"):
        for start in ("", "x ", f"{OWN} ", OWN.replace("INFO", "ERROR")):
            began = time.process_time()
            masked = redaction.line(start + hostile)
            redaction.reason(start + hostile)
            assert time.process_time() - began < 0.5
            assert len(masked) <= 2 * redaction.LONGEST_LINE


def test_a_long_line_is_cut_and_shows_neither_half_a_secret_nor_half_a_quotation() -> None:
    filler = "words " * (redaction.LONGEST_LINE // 6 - 3)
    for tail in ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "'Smith, John, of Boston, Massachusetts'"):
        masked = redaction.line(f"ValueError: {filler}{tail} {filler}")
        assert masked.endswith(("…", "…]"))
        assert "wJal" not in masked
        assert "Smith" not in masked
        assert len(masked) <= redaction.LONGEST_LINE + 10


def test_a_reason_keeps_its_numbers_and_loses_its_quotations() -> None:
    told = "line 9, column age: '63y' is not a number\nepochs: 0 should be 1 or more"
    assert (
        redaction.reason(told) == f"line 9, column age: {redaction.MASK} is not a number\nepochs: 0 should be 1 or more"
    )
