"""Kubernetes objects of a party's own, from the folder that ``manifests`` names in the spec."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from fedsilo import names
from fedsilo.config.federation import Party
from fedsilo.errors import SpecError
from stacks.manifests import Manifest

_CLUSTER_WIDE = frozenset(
    {
        "APIService", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "IngressClass",
        "MutatingWebhookConfiguration", "Node", "NodeClass", "NodePool", "PersistentVolume", "PriorityClass",
        "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    }
)  # fmt: skip
"""Kinds without a namespace. They reach every namespace, and so the agent and the trainers."""


def read(party: Party) -> list[Manifest]:
    """The objects of the party's folder, the namespaces first; nothing if the spec names no folder.

    Raises:
        SpecError: The folder can't be read, or an object is not one that may be applied. There is a line for each.
    """
    if party.manifests is None:
        return []
    folder = Path(party.manifests)
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise SpecError(f"{party.name}: manifests: {folder} should be a folder with .yaml files")
    found: list[tuple[str, Manifest]] = []
    problems = []
    for file in files:
        try:
            documents = [document for document in yaml.safe_load_all(file.read_text()) if document is not None]
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{file}: is no YAML: {' '.join(str(error).split())}")
            continue
        found += [(f"{file}, document {place}", document) for place, document in enumerate(documents, start=1)]
    problems += [f"{where}: {problem}" for where, thing in found for problem in _problems(thing)]
    problems += _repeated(found)
    if problems:
        raise SpecError("\n".join(f"{party.name}: manifests: {problem}" for problem in problems))
    return sorted((thing for _, thing in found), key=lambda thing: thing["kind"] != "Namespace")


def label(thing: Manifest) -> str:
    """What tells the object from the others: ``<namespace>-<kind>-<name>``."""
    return f"{thing['metadata'].get('namespace', '')}-{thing['kind']}-{thing['metadata']['name']}"


def _problems(thing: object) -> Iterator[str]:
    if not isinstance(thing, dict) or not isinstance(thing.get("metadata"), dict):
        yield "should be a Kubernetes object with apiVersion, kind and metadata"
        return
    for field, value in (
        ("apiVersion", thing.get("apiVersion")),
        ("kind", thing.get("kind")),
        ("metadata.name", thing["metadata"].get("name")),
    ):
        if not isinstance(value, str) or not value:
            yield f"{field} is missing"
    kind = thing.get("kind")
    if kind in _CLUSTER_WIDE:
        yield f"{kind} reaches every namespace; only objects of a namespace may be here"
    space = thing["metadata"].get("name" if kind == "Namespace" else "namespace")
    if not space:
        yield "metadata.namespace is missing"
    elif space == names.NAMESPACE or str(space).startswith(("kube-", "amazon-")):
        yield f"namespace {space} belongs to fedsilo or to EKS; use another one"


def _repeated(found: list[tuple[str, Manifest]]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for where, thing in found:
        if not [*_problems(thing)] and (first := seen.setdefault(label(thing), where)) != where:
            yield f"{where}: {thing['kind']} {thing['metadata']['name']} is also in {first}"
