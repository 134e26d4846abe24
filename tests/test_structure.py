"""The rules of the code's structure: sizes, no test that imports another, no comparison with a state's literal."""

import ast
import enum
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fedsilo import states

ROOT = Path(__file__).parents[1]
TREES = ("app.py", "bench", "fedsilo", "requirements", "stacks", "tests", "workloads")
LONGEST_MODULE = 400
LONGEST_CLASS = 200
LONGEST_BODY = 40
"""Lines from the first statement of a function to its last; docstring and parameters do not count."""
STATES = {
    str(member.value)
    for kind in vars(states).values()
    if isinstance(kind, enum.EnumMeta) and issubclass(kind, str)
    for member in kind
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Every Python file that git tracks in the trees above, by path."""
    listed = subprocess.run(["git", "ls-files", "--", *TREES], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [path for path in listed.stdout.splitlines() if path.endswith(".py") and (ROOT / path).is_file()]
    assert len(paths) > 100
    return {path: ast.parse((ROOT / path).read_text()) for path in paths}


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the kinds, with where it is."""
    for path, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, kinds):
                yield f"{path}:{node.lineno}", node  # type: ignore[attr-defined]


def lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_module_is_too_long() -> None:
    counted = {path: len((ROOT / path).read_text().splitlines()) for path in modules()}
    assert {path: count for path, count in counted.items() if count > LONGEST_MODULE} == {}


def test_no_class_is_too_long() -> None:
    counted = {f"{at} {node.name}": lines(node) for at, node in nodes(ast.ClassDef) if isinstance(node, ast.ClassDef)}
    assert {name: count for name, count in counted.items() if count > LONGEST_CLASS} == {}


def test_no_functions_body_is_too_long() -> None:
    counted = {f"{at} {node.name}": body_lines(node) for at, node in nodes(*Function.__args__)}  # type: ignore
    assert {name: count for name, count in counted.items() if count > LONGEST_BODY} == {}


def imported(module: ast.Module) -> Iterator[str]:
    """The absolute names of all modules that a module imports, and of all names that it imports from them."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_test(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "tests" and any(part.startswith("test_") or part == "conftest" for part in parts)


def test_no_test_imports_another_test_or_a_conftest() -> None:
    tests = {path: set(imported(module)) for path, module in modules().items() if path.startswith("tests/")}
    assert {path: sorted(filter(is_test, names)) for path, names in tests.items() if any(map(is_test, names))} == {}


def literals(node: ast.expr) -> Iterator[str]:
    """The texts that an operand of a comparison is, or holds as a tuple, list or set."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        for element in node.elts:
            yield from literals(element)


def compared_states(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Compare):
        return {text for operand in (node.left, *node.comparators) for text in literals(operand)} & STATES
    if isinstance(node, ast.MatchValue):
        return set(literals(node.value)) & STATES
    return set()


def test_no_state_is_compared_with_a_literal() -> None:
    """In tests a literal is right: there it is what a reader of the ledger sees."""
    found = {at: compared_states(node) for at, node in nodes(ast.Compare, ast.MatchValue)}
    assert {at: sorted(words) for at, words in found.items() if words and not at.startswith("tests/")} == {}


@pytest.mark.parametrize(
    ("code", "expected"),
    [("state == 'FAILED'", {"FAILED"}), ("state in ('FINISHED', 'x')", {"FINISHED"}), ("state == other", set())],
)
def test_a_comparison_with_a_literal_is_found(code: str, expected: set[str]) -> None:
    (statement,) = ast.parse(code).body
    assert isinstance(statement, ast.Expr)
    assert compared_states(statement.value) == expected
