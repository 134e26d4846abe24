"""A state of training is read as it was written, and nothing in it is executed."""

import math

import numpy as np
import pytest
import torch

from fedsilo.training import state_file


def test_a_state_is_read_as_it_was_written() -> None:
    weight = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    state = {
        "tied": [weight, weight, weight.t(), weight[0]],
        0: (True, None, 2**200, -0.0, 0.1, "x"),
        "odd": {"tensor": 1, "dict": {}, (): []},
        "arrays": (np.arange(3, dtype=np.uint32), np.float64(0.1), np.array([], dtype=np.int8)),
        "infinite": math.inf,
    }
    read = state_file.loads(state_file.dumps(state))
    assert read.keys() == state.keys()
    for before, after in zip(state["tied"], read["tied"], strict=True):  # type: ignore[arg-type]
        assert after.dtype == torch.bfloat16
        assert torch.equal(before, after)
    assert read[0] == state[0]
    assert math.copysign(1, read[0][3]) == -1
    assert read["odd"] == state["odd"]
    assert [array.dtype for array in read["arrays"]] == [np.uint32, np.float64, np.int8]
    assert read["arrays"][0].tolist() == [0, 1, 2]
    assert read["arrays"][1] == 0.1
    assert read["infinite"] == math.inf


def test_what_would_need_code_to_be_read_is_an_error() -> None:
    with pytest.raises(TypeError, match="can't hold a function"):
        state_file.dumps({"scheduler": {"rule": test_a_state_is_read_as_it_was_written}})
