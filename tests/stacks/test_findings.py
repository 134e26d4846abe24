"""cdk-nag reports nothing but acknowledged findings, and every acknowledgement matches a finding."""

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks
from constructs import IConstruct

from app import compose
from fedsilo.config.load import load_federation
from tests.support.synthesis import FILES, Synthesized

CDKS_OWN = ("CloudFormation-Validate::", "Annotation::")
"""Findings of CDK's own validation, which test_validators.py runs."""

PACKS = (AwsSolutionsChecks, HIPAASecurityChecks)


class Recorder:
    """Stands in for CDK's acknowledgements: it records them and suppresses no finding."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[str, str]] = []

    def of(self, construct: IConstruct) -> mock.Mock:
        path = construct.node.path
        return mock.Mock(acknowledge=lambda entry: self.acknowledged.append((path, entry.id)))


def findings(scope: IConstruct) -> Iterator[tuple[str, str]]:
    """The path of each resource with a finding, and the id of the finding."""
    for pack in PACKS:
        for violation in pack(scope).validate_scope(scope).violations:
            for resource in violation.violating_resources:
                yield resource.construct_path, violation.rule_name


def test_every_finding_is_acknowledged(whichever: Synthesized) -> None:
    assert sorted(findings(whichever.app)) == []


@pytest.mark.parametrize("name", FILES)
def test_every_acknowledgement_matches_a_finding(name: str, tmp_path: Path) -> None:
    recorder = Recorder()
    with mock.patch("stacks.nag.cdk.Validations", recorder):
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
