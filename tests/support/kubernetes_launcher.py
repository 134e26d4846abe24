"""A Kubernetes launcher that talks to the fake API server, for the tests of it and of what it says about pods."""

from lightkube import Client, KubeConfig
from lightkube.config.models import Cluster, Context, User

from fedsilo import names
from fedsilo.agent.kubernetes import KubernetesLauncher
from fedsilo.agent.launcher import Job
from fedsilo.config.load import parse_federation
from fedsilo.config.run import RunIdentity

RUN = "heart-20261122-081500-3f"
JOB = f"trainer-{RUN}"
IDENTITY = RunIdentity(RUN, "0" * 64, "a-version")
CLEVELAND = parse_federation(
    {
        "name": "heart",
        "aggregator": {"region": "us-east-1", "vpc_cidr": "10.0.0.0/16"},
        "silos": [
            {"name": "cleveland", "vpc_cidr": "10.1.0.0/16", "policy": {"max_hours": 2}},
            {"name": "hungary", "vpc_cidr": "10.2.0.0/16"},
        ],
    }
).party("cleveland")


def connect(url: str) -> Client:
    """A client of the API server at the URL."""
    config = KubeConfig(
        clusters={"fake": Cluster(server=url)},
        contexts={"fake": Context(cluster="fake", user="agent", namespace=names.NAMESPACE)},
        users={"agent": User()},
        current_context="fake",
    )
    return Client(config=config, namespace=names.NAMESPACE, trust_env=False)


def only(launcher: KubernetesLauncher) -> Job:
    """The only job that there is."""
    (job,) = launcher.jobs()
    return job
