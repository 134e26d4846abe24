"""What SageMaker takes of a run's parameters. One value beyond a limit would lose all the others.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateTrialComponent.html
"""

import math
from collections.abc import Mapping

from fedsilo.text import QUOTE_LIMIT, plain

PARAMETERS = 300
"""How many parameters a run may have."""

NAME_CHARACTERS = 256
"""The longest name of a parameter. The API's reference says 256, and botocore's model 320."""

TEXT_CHARACTERS = 2500
"""The longest text that is the value of a parameter."""

Parameter = int | float | str


def fit(parameters: Mapping[str, Parameter]) -> tuple[dict[str, Parameter], list[str]]:
    """Make parameters fit.

    Args:
        parameters: Values by their names.

    Returns:
        The parameters that SageMaker takes, and what was changed, in words: a text for each change.
    """
    fitted: dict[str, Parameter] = {}
    changes = []
    for name, value in parameters.items():
        short, shown = plain(name, NAME_CHARACTERS), plain(name, QUOTE_LIMIT)
        if not short or short in fitted:
            changes.append(f"parameter {shown!r} is left out: its name is empty or begins like another's")
        elif len(fitted) == PARAMETERS:
            changes.append(f"parameter {shown} is left out: SageMaker takes {PARAMETERS}")
        elif (taken := _value(value)) is None:
            changes.append(f"parameter {shown} is left out: it is no finite number")
        else:
            fitted[short] = taken
            changes += [f"the name of parameter {shown} is cut to {NAME_CHARACTERS} characters"] * (short != name)
            changes += [f"parameter {shown} is cut to {TEXT_CHARACTERS:,} characters"] * _is_cut(value)
    return fitted, changes


def _value(value: Parameter) -> Parameter | None:
    """What SageMaker takes of a value: a finite number or a text of one line. None if it takes nothing of it."""
    if isinstance(value, bool | str):
        return plain(str(value), TEXT_CHARACTERS)
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer that no double holds
        return None


def _is_cut(value: Parameter) -> bool:
    return isinstance(value, str) and len(value) > TEXT_CHARACTERS
