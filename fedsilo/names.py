"""Names of resources that are created in one AWS account and used in another.

The stacks, the trainers, the agents and the command take these names from here and nowhere else. The arguments
``account`` and ``region`` may be CDK tokens, so the functions do nothing but format. The names of federations and
parties have at most 20 characters, so every name below is within AWS's limits (S3 bucket 63, SQS queue 80, IAM role
64).
"""

AGGREGATOR = "aggregator"
"""The name of the aggregator as a party. No silo may have this name."""

EVERYONE = "all"
"""The receiver of a broadcast. No party may have this name."""

HUB = "hub"
"""What the stacks of the hub are named after. No party may have this name."""

NAME_PATTERN = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
"""A federation's or a party's name: 2 to 20 of a-z, 0-9 and hyphen, starting with a letter."""


FEDERATION_TAG = "fedsilo:federation"
"""The tag of every resource of a federation. Policies that allow many queues check it."""

PARTY_TAG = "fedsilo:party"
"""The tag of every resource of a party, including the party's queues in the hub. The hub admits roles by it."""

MEMBER_TAG = "fedsilo:member"
"""The tag of a party's roles that says which account the party is in. The hub admits roles of other accounts by it."""


NAMESPACE = "fedsilo"
"""The Kubernetes namespace of the agent and the trainers."""

AGENT = "agent"
"""The name of the agent's Deployment and service account."""

TRAINER = "trainer"
"""The name of the trainers' service account, and of the suspended CronJob that is their template."""


MLOPS_SECRET_VARIABLE = "FEDSILO_MLOPS_SECRET"  # noqa: S105 - the name of a variable
"""The environment variable that tells FedML's agent which secret holds its API key."""


def member(account: str, party: str) -> str:
    """The value of ``MEMBER_TAG``. An account has no slash, so no two parties of different accounts share a value."""
    return f"{account}/{party}"


def stack(federation: str, *parts: str) -> str:
    """A CloudFormation stack: ``<fed>-hub``, ``<fed>-<party>-cluster``."""
    return "-".join((federation, *parts))


def mail_bucket(federation: str, account: str, region: str) -> str:
    """The bucket in the hub that holds every mail and every ledger of the federation."""
    return f"{federation}-mail-{account}-{region}"


def data_bucket(federation: str, silo: str, account: str, region: str) -> str:
    """A silo's private bucket of training data, in the silo's own account."""
    return f"{federation}-{silo}-{account}-{region}"


def store_bucket(federation: str, silo: str, account: str) -> str:
    """The bucket of a silo's own store, in the silo's own account.

    The name has no room for the Region, because S3 allows 63 characters. It needs none, because the silo's roles have
    no Region in their names either.
    """
    return f"{federation}-{silo}-{account}-store"


def data_queue(federation: str, party: str) -> str:
    """The FIFO queue in which a party's trainer receives notices of mail."""
    return f"{federation}-{party}-data.fifo"


def control_queue(federation: str, party: str) -> str:
    """The FIFO queue in which a party's agent receives run requests."""
    return f"{federation}-{party}-control.fifo"


def dead_letter_queue(federation: str, party: str) -> str:
    """The FIFO queue for the undeliverable messages of a party's two other queues.

    A party's two queues share it, so that the hub's stack has room for a hundred silos. Parties do not share one: a
    request that is sent to all parties has the same deduplication id everywhere, and a shared queue would keep only the
    first copy.
    """
    return f"{federation}-{party}-dead.fifo"


def trainer_role(federation: str, party: str) -> str:
    """The IAM role of a party's trainer. All mail of the party is sent with this role."""
    return f"{federation}-{party}-trainer"


def agent_role(federation: str, party: str) -> str:
    """The IAM role of a party's agent."""
    return f"{federation}-{party}-agent"


def operator_policy(federation: str) -> str:
    """The managed policy, in the hub's account, for everyone who starts and watches runs."""
    return f"{federation}-operator"


def cluster(federation: str, party: str) -> str:
    """A party's EKS cluster."""
    return f"{federation}-{party}"


def hub_key_alias(federation: str) -> str:
    """The alias of the key that encrypts the hub. Other accounts can know the alias, but not the key's id."""
    return f"alias/{federation}-hub"


def experiment(federation: str, rank: int) -> str:
    """The SageMaker experiment of a party; rank 0 is the aggregator, and silos count from 1 as in federation.yaml."""
    return f"{federation}-server" if rank == 0 else f"{federation}-client-{rank}"


def mlops_device(federation: str, party: str) -> str:
    """The id of a party's device on FedML's platform. It stays the same when the party's pod is replaced."""
    return f"{federation}-{party}"


def secret_arn(secret: str, account: str, region: str) -> str:
    """The ARN of a secret. It ends with wildcards, because Secrets Manager adds six random characters."""
    return f"arn:aws:secretsmanager:{region}:{account}:secret:{secret}-??????"


def bucket_arn(bucket: str, key: str | None = None) -> str:
    """The ARN of a bucket; with ``key``, which may be a pattern, the ARN of objects in the bucket."""
    return f"arn:aws:s3:::{bucket}" if key is None else f"arn:aws:s3:::{bucket}/{key}"


def queue_arn(queue: str, account: str, region: str) -> str:
    """The ARN of a queue; ``queue`` may be a pattern."""
    return f"arn:aws:sqs:{region}:{account}:{queue}"


def cluster_arn(cluster: str, account: str, region: str) -> str:
    """The ARN of an EKS cluster."""
    return f"arn:aws:eks:{region}:{account}:cluster/{cluster}"


def role_arn(role: str, account: str) -> str:
    """The ARN of an IAM role."""
    return f"arn:aws:iam::{account}:role/{role}"


def experiment_arns(experiment: str, account: str, region: str) -> list[str]:
    """The ARNs of everything that the SageMaker SDK creates for an experiment and its runs."""
    return [
        f"arn:aws:sagemaker:{region}:{account}:{resource}"
        for resource in (
            f"experiment/{experiment}",
            f"experiment-trial/default-run-group-{experiment}",
            f"experiment-trial-component/{experiment}-*",
        )
    ]
