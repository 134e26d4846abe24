"""The table of versions is complete, and is refreshed from AWS's answers."""

import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.stub import Stubber

from fedsilo.config.add_ons import ADD_ONS
from fedsilo.errors import SpecError
from stacks import add_on_versions, network
from stacks.cluster import KUBERNETES


def answer(name: str, *versions: tuple[str, str, bool]) -> dict[str, Any]:
    """What EKS answers: the newest version first, each with a version of Kubernetes and whether it is its default."""
    return {
        "addons": [
            {
                "addonName": name,
                "type": "observability",
                "addonVersions": [
                    {
                        "addonVersion": version,
                        "architecture": ["amd64", "arm64"],
                        "compatibilities": [
                            {"clusterVersion": fits, "platformVersions": ["*"], "defaultVersion": default}
                        ],
                    }
                    for version, fits, default in versions
                ],
            }
        ]
    }


def test_every_add_on_is_pinned_with_its_source() -> None:
    pinned = add_on_versions.read()[KUBERNETES.version]
    assert set(pinned) == set(ADD_ONS)
    for entry in pinned.values():
        assert re.fullmatch(r"v\d+\.\d+\.\d+-eksbuild\.\d+", entry["version"])
        assert entry["source"]
        assert re.fullmatch(r"\d{4}-\d{2}", entry["read"])


def test_every_endpoint_of_an_add_on_is_known_to_the_network() -> None:
    wanted = {endpoint for add_on in ADD_ONS.values() for endpoint in add_on.endpoints}
    assert wanted == set(network.ADD_ONS_INTERFACES)


def test_missing_version_says_how_to_get_it() -> None:
    with pytest.raises(
        SpecError, match=r"no version of adot for Kubernetes 9.99; run `python -m stacks.add_on_versions"
    ):
        add_on_versions.pinned("adot", "9.99")


def test_refresh_takes_the_default_of_aws_and_keeps_what_aws_does_not_have(tmp_path: Path) -> None:
    table = tmp_path / "versions.yaml"
    table.write_text(add_on_versions.TABLE.read_text())
    before = add_on_versions.read(table)
    eks = boto3.client("eks", region_name="us-east-1", config=Config(signature_version=UNSIGNED))
    with Stubber(eks) as stub:
        for name in sorted(ADD_ONS):
            said = answer(name, ("v9.9.9-eksbuild.2", "1.36", False), ("v9.9.9-eksbuild.1", "1.36", True))
            stub.add_response(
                "describe_addon_versions",
                {"addons": []} if name == "adot" else said,
                {"addonName": name, "kubernetesVersion": "1.36"},
            )
        lines = add_on_versions.refresh(eks, "1.36", table)
        stub.assert_no_pending_responses()
    after = add_on_versions.read(table)["1.36"]
    assert after["metrics-server"]["version"] == "v9.9.9-eksbuild.1"
    assert "describe-addon-versions --addon-name metrics-server" in after["metrics-server"]["source"]
    assert after["adot"] == before["1.36"]["adot"]
    kept = before["1.36"]["adot"]["version"]
    assert f"adot: AWS has no version for Kubernetes 1.36; the table keeps {kept}" in lines
    assert f"metrics-server: {before['1.36']['metrics-server']['version']} -> v9.9.9-eksbuild.1" in lines
