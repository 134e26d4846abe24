"""Of a workload's exceptions, the type and the place leave the silo; text leaves only if its author vouches for it."""

from collections.abc import Callable
from typing import Any

import pytest

from fedsilo import aws
from fedsilo.errors import HubError, RunError, SpecError, StoppedError, WorkloadError
from fedsilo.workload import registry
from fedsilo.workload.disclosure import disclosed, is_public

SECRETS = ("John Smith", "AB4711", "63.5")


def workload(source: str, module: str = f"{registry.PACKAGE}.stroke.data") -> Callable[..., Any]:
    """A function ``work`` of a workload, whose first line is the first of the source."""
    namespace: dict[str, Any] = {"__name__": module}
    exec(compile(source, f"/home/me/site/{registry.PACKAGE}/stroke/data.py", "exec"), namespace)  # noqa: S102
    work: Callable[..., Any] = namespace["work"]
    return work


def caught(call: Callable[..., object], *arguments: object) -> BaseException:
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        call(*arguments)
    return raised.value


def test_an_exception_leaves_as_its_type_and_place() -> None:
    """The place is the workload's line, also if a library raised the exception there."""
    listed = caught(workload("def work():\n    ['a'].index('John Smith')"))
    assert disclosed(listed) == (
        f"ValueError at {registry.PACKAGE}/stroke/data.py:2; the party's own log has its message"
    )
    parsed = caught(workload("import json\ndef work():\n    json.loads('patient_id=AB4711')"))
    assert disclosed(parsed).startswith(f"JSONDecodeError at {registry.PACKAGE}/stroke/data.py:3;")
    assert disclosed(caught(lambda: {}["AB4711"])).startswith("KeyError at tests/workload/test_disclosure.py:")


@pytest.mark.parametrize("kind", [SpecError, HubError, RunError])
def test_an_error_of_fedsilo_that_a_workload_raises_or_causes_keeps_its_text(kind: type[Exception]) -> None:
    raised = caught(workload("def work(kind):\n    raise kind('John Smith')"), kind)
    assert disclosed(raised).startswith(f"{kind.__name__} at {registry.PACKAGE}/stroke/data.py:2;")

    def build(key: str) -> None:  # as a function of fedsilo would, of what the workload gives it
        raise kind(f"could not read {key}")

    caused = caught(workload("def work(build):\n    build('AB4711.dcm')"), build)
    assert "AB4711" not in disclosed(caused)


def test_an_error_that_fedsilo_built_leaves_with_its_text() -> None:
    def deny() -> None:
        with aws.translate_errors("the trainer", "read x", "y is deployed"):
            raise RunError("line one\nline two")

    assert disclosed(caught(deny)) == "line one; line two"
    assert disclosed(RunError("never raised")) == "never raised"
    stopped = caught(workload("def work(stop):\n    raise stop"), StoppedError("stopped by SIGTERM"))
    assert disclosed(stopped) == "stopped by SIGTERM"


def test_a_workload_error_leaves_with_its_text_unless_something_else_worded_it() -> None:
    """A DataLoader raises an error of its worker again, with the worker's traceback as its text."""
    own = caught(workload("def work(kind):\n    raise kind('line 9, column age')"), WorkloadError)
    assert disclosed(own) == "line 9, column age"

    def reworded() -> None:
        raise WorkloadError("Caught in DataLoader worker: could not convert '63.5y'")

    again = caught(workload("def work(load):\n    load()"), reworded)
    assert not is_public(again)
    assert disclosed(again).startswith(f"WorkloadError at {registry.PACKAGE}/stroke/data.py:2;")
