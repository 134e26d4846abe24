"""Which silos a round asks for an update, in a run that asks a fraction of them."""

from collections.abc import Sequence

import numpy as np

from fedsilo.config.run import Run
from fedsilo.training.roster import Silo, names_of


def draw(run: Run, round_idx: int, remaining: Sequence[Silo]) -> list[str] | None:
    """Draw the silos that a round asks, all with the same probability and without repetition.

    Seed and round alone decide the order in which silos are drawn, so the same run asks the same silos again. A silo
    that rounds do not wait for is drawn, too, because only an update shows that it is back. If too few of those drawn
    are silos that rounds wait for, more are drawn, until these are as many as the quorum.

    Args:
        run: The run.
        round_idx: The round, from 0.
        remaining: The silos that take part, or still may, in the order of their ranks.

    Returns:
        The names of the silos, sorted; None if the run asks all silos.
    """
    if run.fraction == 1:
        return None
    order = np.random.default_rng((run.seed, round_idx)).permutation(len(remaining))
    size, active = run.sample_size(len(remaining)), min(run.quorum, sum(silo.active for silo in remaining))
    drawn: list[Silo] = []
    for index in order:
        if len(drawn) >= size and active <= 0:
            break
        drawn.append(remaining[index])
        active -= remaining[index].active
    return names_of(drawn)
