"""cdk-nag finds nothing in the stacks that is not acknowledged, and all that is acknowledged."""

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks
from constructs import IConstruct

from app import compose
from fedsilo.config.load import load_federation
from tests.stacks.conftest import FILES, Synthesized

CDKS_OWN = ("CloudFormation-Validate::", "Annotation::")
"""Findings of CDK's own validation, of which test_validators.py has one run."""

PACKS = (AwsSolutionsChecks, HIPAASecurityChecks)


class Recorder:
    """Stands in for CDK's acknowledgements: notes them, and lets every finding through."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[str, str]] = []

    def of(self, construct: IConstruct) -> mock.Mock:
        path = construct.node.path
        return mock.Mock(acknowledge=lambda entry: self.acknowledged.append((path, entry.id)))


def findings(scope: IConstruct) -> Iterator[tuple[str, str]]:
    """Path of the resource, and id of the finding."""
    for pack in PACKS:
        for violation in pack(scope).validate_scope(scope).violations:
            for resource in violation.violating_resources:
                yield resource.construct_path, violation.rule_name


def test_nothing_is_found_that_is_not_acknowledged(whichever: Synthesized) -> None:
    assert sorted(findings(whichever.app)) == []


@pytest.mark.parametrize("name", FILES)
def test_every_acknowledgement_still_applies(name: str, tmp_path: Path) -> None:
    recorder = Recorder()
    with mock.patch("stacks.acknowledge.cdk.Validations", recorder):
        app = compose(load_federation(FILES[name]), outdir=str(tmp_path))
    found = list(findings(app))
    assert len(found) > 50
    unused = [
        (construct, finding)
        for construct, finding in recorder.acknowledged
        if not finding.startswith(CDKS_OWN)
        and not any(finding == rule and f"{resource}/".startswith(f"{construct}/") for resource, rule in found)
    ]
    assert unused == []
