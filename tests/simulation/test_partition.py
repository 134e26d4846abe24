"""Pooled data are split into silos: each sample once, equally many for each, with the asked mixture of labels."""

import numpy as np
import pytest

from fedsilo.errors import SpecError
from fedsilo.simulation.partition import Partition

LABELS = np.arange(1000) % 4
TEST = np.arange(300) % 4


@pytest.mark.parametrize("how", ["iid", "dirichlet:0.1", "dirichlet:100"])
def test_each_sample_is_in_one_silo_and_silos_are_of_one_size(how: str) -> None:
    sets = Partition.parse(how).split([LABELS, TEST], 7, seed=1)
    for labels, silos in zip((LABELS, TEST), sets, strict=True):
        assert sorted(np.concatenate(silos)) == [*range(len(labels))]
        assert {len(rows) for rows in silos} <= {len(labels) // 7, len(labels) // 7 + 1}


def skew(how: str) -> float:
    """How far the silos' mixtures are from that of all, on average."""
    train, _ = Partition.parse(how).split([LABELS, TEST], 10, seed=1)
    shares = np.array([np.bincount(LABELS[rows], minlength=4) / len(rows) for rows in train])
    return float(np.abs(shares - 0.25).mean())


def test_a_smaller_alpha_makes_silos_more_different() -> None:
    assert skew("dirichlet:0.1") > 2 * skew("dirichlet:5") > 0
    assert skew("dirichlet:100000") < 0.05
    assert skew("iid") < 0.05


def test_the_training_and_the_test_set_of_a_silo_have_the_same_mixture() -> None:
    train, test = Partition.parse("dirichlet:0.3").split([LABELS, TEST], 3, seed=2)
    for rows, tested in zip(train, test, strict=True):
        shares = np.bincount(LABELS[rows], minlength=4) / len(rows)
        assert np.abs(shares - np.bincount(TEST[tested], minlength=4) / len(tested)).max() < 0.25


def test_the_seed_decides_the_split() -> None:
    splits = [Partition.parse("dirichlet:0.3").split([LABELS], 5, seed)[0] for seed in (1, 1, 2)]
    assert all((one == other).all() for one, other in zip(splits[0], splits[1], strict=True))
    assert any(len(one) != len(other) or (one != other).any() for one, other in zip(splits[0], splits[2], strict=True))


@pytest.mark.parametrize("text", ["", "iid:1", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:nan"])
def test_what_is_no_partition_is_an_error(text: str) -> None:
    with pytest.raises(SpecError, match="is neither iid nor dirichlet:ALPHA"):
        Partition.parse(text)
