"""A folder of a party's own Kubernetes objects is read whole, or everything that is wrong with it is said."""

from pathlib import Path

import pytest

from fedsilo.config.federation import Aggregator
from fedsilo.config.load import load_federation
from fedsilo.errors import SpecError
from stacks import own_manifests


def party(folder: Path) -> Aggregator:
    return Aggregator.model_validate({"region": "us-east-1", "vpc_cidr": "10.0.0.0/16", "manifests": str(folder)})


def config_map(name: str, namespace: str = "reports") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n"


NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: reports}\n"


def test_namespaces_come_first(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{config_map('one')}---\n{NAMESPACE}---\n")
    (tmp_path / "b.yml").write_text(config_map("two"))
    read = own_manifests.read(party(tmp_path))
    assert [thing["metadata"]["name"] for thing in read] == ["reports", "one", "two"]


def test_everything_that_is_wrong_is_said_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "---\n".join(
            [
                config_map("one"),
                config_map("two", "fedsilo"),
                config_map("three", "kube-system"),
                "kind: ConfigMap\nmetadata: {}\n",
                "- a list\n",
                "apiVersion: v1\nkind: ClusterRole\nmetadata: {name: all, namespace: reports}\n",
                config_map("one"),
            ]
        )
    )
    (tmp_path / "b.yaml").write_text("a: [")
    with pytest.raises(SpecError) as caught:
        own_manifests.read(party(tmp_path))
    lines = str(caught.value).splitlines()
    at = f"aggregator: manifests: {tmp_path / 'a.yaml'}, document"
    assert lines[0].startswith(f"aggregator: manifests: {tmp_path / 'b.yaml'}: is no YAML: ")
    assert lines[1:] == [
        f"{at} 2: namespace fedsilo belongs to fedsilo or to EKS; use another one",
        f"{at} 3: namespace kube-system belongs to fedsilo or to EKS; use another one",
        f"{at} 4: apiVersion is missing",
        f"{at} 4: metadata.name is missing",
        f"{at} 4: metadata.namespace is missing",
        f"{at} 5: should be a Kubernetes object with apiVersion, kind and metadata",
        f"{at} 6: ClusterRole reaches every namespace; only objects of a namespace may be here",
        f"{at} 7: ConfigMap one is also in {tmp_path / 'a.yaml'}, document 1",
    ]


def test_folder_without_yaml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="should be a folder with"):
        own_manifests.read(party(tmp_path / "missing"))


def test_folder_is_relative_to_the_federations_file(tmp_path: Path) -> None:
    path = tmp_path / "federation.yaml"
    path.write_text(
        "name: heart\naggregator: {region: us-east-1, vpc_cidr: 10.0.0.0/16, policy: {min_silos: 1}}\n"
        "silos: [{name: near, vpc_cidr: 10.1.0.0/16, manifests: own, policy: {min_silos: 1}}]\n"
    )
    federation = load_federation(path)
    assert federation.party("near").manifests == str(tmp_path / "own")
    assert federation.party("near").rank == 1
