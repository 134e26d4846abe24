"""Reads a hospital's patients, checks them, and splits them as FLamby does.

The data of the four UCI hospitals are packaged in ``hospitals/``. Another silo has a ``heart_disease.csv`` with the
same columns in its own S3 bucket. Messages go into the log and the status, so a message says where a malformed value
is, and never what it is.
"""

import csv
import importlib.resources
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import boto3
import numpy as np
import torch

from fedsilo import aws
from fedsilo.errors import WorkloadError

FILE = "heart_disease.csv"
"""The object's name in a silo's own bucket."""

COLUMNS = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal"),
    "num",
)
"""The columns of a file, in UCI's order. The first line of a file names them."""

CODES: dict[str, tuple[float, ...]] = {
    "sex": (0, 1),
    "cp": (1, 2, 3, 4),
    "fbs": (0, 1),
    "restecg": (0, 1, 2),
    "exang": (0, 1),
    "num": (0, 1, 2, 3, 4),
}
"""The allowed values of the columns that hold a code. For ``num``, 0 is no disease and any other value is disease."""

IGNORED = ("slope", "ca", "thal")
"""Columns that FLamby leaves out, because three of the hospitals hardly recorded them."""

FEATURES = (
    *("age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"),
    *("cp_2", "cp_3", "cp_4", "restecg_1", "restecg_2"),
)
"""The model's features in order. ``cp_2`` is 1 if ``cp`` is 2, and else 0; and so on."""

TRAIN_FRACTION = 0.66
SPLIT_SEED = 43

_MISSING = ("", "?")
_PROBLEMS_SHOWN = 10


class Patients(NamedTuple):
    """The patients of one hospital."""

    features: torch.Tensor
    """float32 [n, 13], raw, in the order of ``FEATURES``."""
    labels: torch.Tensor
    """float32 [n]; 1 is disease."""


def load(silo: str, source: str) -> tuple[Patients, Patients]:
    """Load the training set and the test set of a silo.

    Args:
        silo: The silo's name.
        source: ``packaged``, or ``s3://bucket/prefix``.

    Raises:
        WorkloadError: If no data is packaged for the silo, or if the file is malformed; then with line and column.
        HubError, AccessError: If the bucket can't be read; see ``aws.translate_errors``.
    """
    name, text = _read_packaged(silo) if source == "packaged" else _read_s3(silo, source)
    patients = parse(text, name)
    train, test = split(patients.labels.numpy())
    return (
        Patients(patients.features[train], patients.labels[train]),
        Patients(patients.features[test], patients.labels[test]),
    )


def pool(parts: Sequence[Patients]) -> Patients:
    """All patients of several sets."""
    return Patients(torch.cat([part.features for part in parts]), torch.cat([part.labels for part in parts]))


def hospitals() -> list[str]:
    """The silos whose data are packaged, sorted."""
    folder = importlib.resources.files(__package__).joinpath("hospitals")
    return sorted(entry.name.removesuffix(".csv") for entry in folder.iterdir() if entry.name.endswith(".csv"))


def parse(text: str, name: str) -> Patients:
    """Read the patients from a CSV file. Patients with a missing value are dropped, as FLamby does.

    Args:
        text: The file's content. An empty cell, or ``?``, is a missing value.
        name: The file's name, for the messages.

    Raises:
        WorkloadError: With a line for each value that is not a number, or not one of its column's codes; or if fewer
            than two patients are complete.
    """
    table = _table(text, name)
    used = [place for place, column in enumerate(COLUMNS) if column not in IGNORED]
    complete = table[~np.isnan(table[:, used]).any(axis=1)]
    if len(complete) < 2:
        raise WorkloadError(f"{name}: {len(complete)} of {len(table)} patients have no missing value; at least 2 must")
    features = np.column_stack([_feature(complete, feature) for feature in FEATURES])
    disease = complete[:, COLUMNS.index("num")] != 0
    return Patients(torch.from_numpy(features).float(), torch.from_numpy(disease).float())


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a hospital as FLamby does: 66 % for training, stratified if each label has more than two patients.

    For the UCI hospitals the split equals that of scikit-learn's ``train_test_split`` with ``random_state=43``, which
    FLamby calls. It takes the same draws from the same generator, whose stream NumPy guarantees.

    Args:
        labels: [n] of 0 and 1, n at least 2.

    Returns:
        The row numbers of the training set and of the test set, ascending.
    """
    random = np.random.RandomState(SPLIT_SEED)
    size = len(labels)
    num_train = math.floor(TRAIN_FRACTION * size)
    healthy, diseased = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    if min(len(healthy), len(diseased)) > 2:
        share = round(num_train * len(healthy) / size)
        train = np.concatenate(
            [
                healthy[random.permutation(len(healthy))[:share]],
                diseased[random.permutation(len(diseased))[: num_train - share]],
            ]
        )
    else:
        train = random.permutation(size)[size - num_train :]
    return np.sort(train), np.setdiff1d(np.arange(size), train)


def _table(text: str, name: str) -> np.ndarray:
    """The values of a CSV file, float64 [rows, columns]. A missing value is NaN. Raises as ``parse`` does."""
    lines = csv.reader(io.StringIO(text), strict=True)
    rows, problems = [], []
    try:
        header = [cell.strip() for cell in next(lines, [])]
        if header != list(COLUMNS):
            raise WorkloadError(f"{name}: the first line must be {','.join(COLUMNS)}")
        for cells in filter(None, lines):
            row, wrong = _row(cells)
            rows.append(row)
            problems += [f"line {lines.line_num}{problem}" for problem in wrong]
    except csv.Error as error:
        raise WorkloadError(f"{name}: line {lines.line_num}: {error}") from None
    if problems:
        more = len(problems) - _PROBLEMS_SHOWN
        shown = problems[:_PROBLEMS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise WorkloadError("\n".join(f"{name}: {problem}" for problem in shown))
    return np.array(rows).reshape(-1, len(COLUMNS))


def _row(cells: list[str]) -> tuple[list[float], list[str]]:
    """The values of a line, and what is wrong with it."""
    if len(cells) != len(COLUMNS):
        return [], [f": {len(cells)} values, not {len(COLUMNS)}"]
    values, problems = [], []
    for column, cell in zip(COLUMNS, cells, strict=True):
        try:
            values.append(_value(column, cell.strip()))
        except ValueError as error:
            problems.append(f", column {column}: {error}")
    return values, problems


def _value(column: str, cell: str) -> float:
    """The value of a cell. Raises ``ValueError``, without the value, if the column can't hold it."""
    if cell in _MISSING:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("not a number")
    codes = CODES.get(column)
    if codes and value not in codes:
        raise ValueError(f"not one of {', '.join(f'{code:g}' for code in codes)}")
    return value


def _feature(table: np.ndarray, feature: str) -> np.ndarray:
    """A feature of all patients: a column, or whether the column has a code."""
    column, _, code = feature.partition("_")
    values = table[:, COLUMNS.index(column)]
    return values == int(code) if code else values


def _read_packaged(silo: str) -> tuple[str, str]:
    file = importlib.resources.files(__package__).joinpath("hospitals", f"{silo}.csv")
    if not file.is_file():
        raise WorkloadError(
            f"silo {silo}: heart_disease has packaged data for {', '.join(hospitals())} only;"
            f" set `data: s3` for this silo and put {FILE} into its bucket"
        )
    return file.name, file.read_text()


def _read_s3(silo: str, source: str) -> tuple[str, str]:
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    if not source.startswith("s3://") or not bucket:
        raise WorkloadError(f"data: {source!r} is neither `packaged` nor s3://bucket/prefix")
    key = f"{prefix.removesuffix('/')}/{FILE}" if prefix else FILE
    name = f"s3://{bucket}/{key}"
    with aws.translate_errors(f"silo {silo}", f"read {name}", "the silo's bucket holds this object"):
        content = boto3.client("s3", config=aws.config()).get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        return name, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{name}: not a UTF-8 text, at byte {error.start}") from None
