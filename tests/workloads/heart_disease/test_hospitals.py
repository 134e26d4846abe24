"""The packaged data equal UCI's: written in UCI's notation, the files are the same byte for byte."""

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

HOSPITALS = Path(__file__).parents[3] / "workloads" / "heart_disease" / "hospitals"


def one_decimal(cell: str, column: str) -> str:
    return cell if column == "num" else f"{float(cell):.1f}"


def no_leading_zero(cell: str, column: str) -> str:
    return cell.replace("0.", ".") if cell.startswith(("0.", "-0.")) else cell


def as_it_is(cell: str, column: str) -> str:
    return cell


@pytest.mark.parametrize(
    ("hospital", "notation", "sha256"),
    [
        ("cleveland", one_decimal, "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8"),
        ("hungary", as_it_is, "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796"),
        ("switzerland", no_leading_zero, "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314"),
        ("long-beach", as_it_is, "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f"),
    ],
)
def test_the_file_of_a_hospital_equals_ucis(hospital: str, notation: Callable[[str, str], str], sha256: str) -> None:
    with (HOSPITALS / f"{hospital}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = (",".join(notation(cell, column) if cell else "?" for column, cell in row.items()) + "\n" for row in rows)
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == sha256
