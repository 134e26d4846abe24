"""The images of a party that are built from this repository when the app is deployed; synthesis builds nothing."""

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Literal

from aws_cdk import aws_ecr_assets as assets
from constructs import Construct

from fedsilo import __version__
from fedsilo.config.federation import Compute

_ROOT = Path(__file__).parents[1]

STOCK_FEDML = {"TORCH": "requirements/torch-mlops.txt", "REQUIREMENTS": "requirements/mlops.txt"}
"""The Dockerfile's arguments for an image with FedML's cloud half."""


def build(scope: Construct, target: Literal["agent", "trainer"], arguments: dict[str, str] | None = None) -> str:
    """Add an image of workloads/image/Dockerfile to the stack.

    Its tag is a hash of what it is made from. The repository that ``cdk bootstrap`` makes does not let anybody move a
    tag to another image.

    Args:
        scope: The stack.
        target: Which of the Dockerfile's images.
        arguments: The Dockerfile's arguments.

    Returns:
        The image's address.
    """
    arguments = arguments or {}
    asset = assets.DockerImageAsset(
        scope,
        f"{target.title()}Image",
        directory=str(_ROOT),
        file="workloads/image/Dockerfile",
        target=target,
        platform=assets.Platform.LINUX_AMD64,
        build_args=arguments | {"VERSION": __version__, "REVISION": _revision()},
        # The labels are no part of the hash: a commit that changes nothing in the image replaces no pod.
        invalidation=assets.DockerImageAssetInvalidationOptions(build_args=False),
        extra_hash=repr(sorted(arguments.items())),
    )
    return asset.image_uri


def torch_build(compute: Compute) -> dict[str, str]:
    """The Dockerfile's argument that picks the build of PyTorch: an index of CPU builds has none for GPUs."""
    return {} if compute.gpu else {"TORCH_INDEX": os.environ.get("FEDSILO_TORCH_INDEX", "")}


@cache
def _revision() -> str:
    """The commit of this checkout, with ``-dirty`` if files differ from it; empty outside of a Git repository."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
