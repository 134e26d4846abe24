"""Both federations, synthesized once for all tests: the example, and one with every setting away from its default."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import aws_cdk as cdk
import pytest

from app import compose
from fedsilo import spec

ROOT = Path(__file__).parents[2]
FILES = {"example": ROOT / "federation.yaml", "everything": Path(__file__).with_name("everything.yaml")}

Template = dict[str, Any]


@dataclass(frozen=True)
class Synthesized:
    """A federation, its app, its templates by stack name, and what its constructs acknowledged."""

    federation: spec.Federation
    app: cdk.App
    directory: Path
    templates: dict[str, Template]
    acknowledged: list[tuple[str, str]]
    """Path of a construct, and the id of a finding that stands for it and all below it."""

    def resources(self, kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Stack, logical id and properties of every resource of the kind."""
        for stack, template in self.templates.items():
            for logical_id, resource in template["Resources"].items():
                if resource["Type"] == kind:
                    yield stack, logical_id, resource.get("Properties", {})


def synthesize(path: Path, outdir: Path) -> Synthesized:
    acknowledged: list[tuple[str, str]] = []

    federation = spec.load(path)
    with mock.patch.dict(os.environ, CDK_VALIDATION="false"):
        app = compose(federation, outdir=str(outdir))
        assembly = app.synth()
    templates = {stack.stack_name: json.loads(Path(stack.template_full_path).read_text()) for stack in assembly.stacks}
    return Synthesized(federation, app, outdir, templates, acknowledged)


@pytest.fixture(scope="session", params=FILES)
def synthesized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return _both(tmp_path_factory)[request.param]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return _both(tmp_path_factory)["example"]


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return _both(tmp_path_factory)["everything"]


_DONE: dict[str, Synthesized] = {}


def _both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Synthesized]:
    for name, path in FILES.items():
        if name not in _DONE:
            _DONE[name] = synthesize(path, tmp_path_factory.mktemp(name))
    return _DONE
