"""AWS in memory: what all processes of a simulation store and send, and the clients with which they do it."""

from typing import Any

from fedsilo import aws, names
from fedsilo.config import queue_settings
from fedsilo.config.federation import Federation
from fedsilo.simulation.network import Network
from fedsilo.simulation.objects import S3, Buckets
from fedsilo.simulation.queues import Queue, Sqs
from fedsilo.simulation.world import Process, World

ACCOUNT = "123456789012"
"""The account of a simulated hub whose federation names none."""


class Sts:
    """boto3's client of STS."""

    def get_caller_identity(self) -> dict[str, Any]:
        """Whose the credentials are: the hub's account's."""
        return {"Account": ACCOUNT}


class SimulatedHub:
    """The hub of a federation.

    Attributes:
        account: The account that has the hub.
        bucket: The name of the mail bucket.
        buckets: What is stored in S3.
        queues: The queues by their names.
    """

    def __init__(self, world: World, federation: Federation, network: Network) -> None:
        self._network = network
        self.buckets = Buckets()
        self.account = federation.aggregator.account or ACCOUNT
        self.bucket = names.mail_bucket(federation.name, self.account, federation.aggregator.region)
        self.buckets.create(self.bucket)
        names_of = (names.data_queue, names.control_queue)
        queues = [name(federation.name, party.name) for party in federation.parties for name in names_of]
        hidden, most = queue_settings.VISIBILITY_TIMEOUT_SECONDS, queue_settings.MAX_RECEIVE_COUNT
        self.queues = {queue: Queue(world, queue, hidden, most) for queue in queues}

    def clients(self, process: Process) -> aws.Clients:
        """What makes the clients of a process, for ``aws.using``."""

        def make(service: str, region: str, attempts: int) -> Any:
            match service:
                case "s3":
                    return S3(self.buckets, process, self._network)
                case "sqs":
                    return Sqs(self.queues, process, self._network)
                case "sts":
                    return Sts()
            raise NotImplementedError(f"the simulator has no {service}")

        return make
