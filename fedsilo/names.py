"""Names and prefixes that two sides of an account boundary must agree on without talking to each other.

The stacks, the trainer and the command all take them from here and nowhere else. ``account`` and ``region`` may be
CDK tokens, so the functions only format. Lengths: a federation's and a party's name have at most 20 characters, so
every name below stays inside AWS's limits (S3 bucket 63, SQS queue 80, IAM role 64).
"""

AGGREGATOR = "aggregator"
"""The aggregator's party name; no silo may have it."""

EVERYONE = "all"
"""The receiver of a broadcast; no party may have this name."""

NAME_PATTERN = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
"""A federation's or a party's name: 2 to 20 of a-z, 0-9 and hyphen, starting with a letter."""


FEDERATION_TAG = "fedsilo:federation"
"""The tag that every resource of a federation carries; policies that admit many queues test it."""

PARTY_TAG = "fedsilo:party"
"""The tag that every resource of a party carries, the party's queues in the hub included."""


NAMESPACE = "fedsilo"
"""The Kubernetes namespace of the agent and the trainers."""

AGENT = "agent"
"""The agent's Deployment and service account."""

TRAINER = "trainer"
"""The trainers' service account, and the suspended CronJob that is their template."""


MLOPS_SECRET_VARIABLE = "FEDSILO_MLOPS_SECRET"  # noqa: S105 - the name of a variable
"""The environment variable of FedML's agent with the name of the secret that holds its API key."""


def stack(federation: str, *parts: str) -> str:
    """A CloudFormation stack: ``<fed>-hub``, ``<fed>-<party>-cluster``."""
    return "-".join((federation, *parts))


def mail_bucket(federation: str, account: str, region: str) -> str:
    """The bucket in the hub that holds every mail and every ledger of the federation."""
    return f"{federation}-mail-{account}-{region}"


def data_bucket(federation: str, silo: str, account: str, region: str) -> str:
    """A silo's private bucket of training data, in the silo's own account."""
    return f"{federation}-{silo}-{account}-{region}"


def data_queue(federation: str, party: str) -> str:
    """The FIFO queue in which a party's trainer receives notices of mail."""
    return f"{federation}-{party}-data.fifo"


def control_queue(federation: str, party: str) -> str:
    """The FIFO queue in which a party's agent receives run requests."""
    return f"{federation}-{party}-control.fifo"


def dead_letter_queue(federation: str, party: str) -> str:
    """Where the undeliverable messages of a party's two queues go; FIFO, as they are.

    One for both queues, so that the hub's stack has room for a hundred silos, and none shared between parties: a
    request sent to all of them carries one deduplication id, by which a shared queue would drop all but the first.
    """
    return f"{federation}-{party}-dead.fifo"


def trainer_role(federation: str, party: str) -> str:
    """The IAM role of a party's trainer: the identity behind every mail the party sends."""
    return f"{federation}-{party}-trainer"


def agent_role(federation: str, party: str) -> str:
    """The IAM role of a party's agent."""
    return f"{federation}-{party}-agent"


def operator_policy(federation: str) -> str:
    """The managed policy, in the hub's account, of whoever starts and watches runs."""
    return f"{federation}-operator"


def cluster(federation: str, party: str) -> str:
    """A party's EKS cluster."""
    return f"{federation}-{party}"


def hub_key_alias(federation: str) -> str:
    """The alias of the key that encrypts the hub: another account can know it, but not the key's id."""
    return f"alias/{federation}-hub"


def experiment(federation: str, rank: int) -> str:
    """The SageMaker experiment of a party: rank 0 is the aggregator, a silo's rank is its place in the spec from 1."""
    return f"{federation}-server" if rank == 0 else f"{federation}-client-{rank}"


def mlops_device(federation: str, party: str) -> str:
    """The id of a party's device on FedML's platform: the same however often its pod is replaced."""
    return f"{federation}-{party}"


def secret_arn(secret: str, account: str, region: str) -> str:
    """The ARN of a secret, whose last six characters Secrets Manager makes up."""
    return f"arn:aws:secretsmanager:{region}:{account}:secret:{secret}-??????"


def bucket_arn(bucket: str, key: str | None = None) -> str:
    """The ARN of a bucket, or of the objects that ``key`` (a pattern) names in it."""
    return f"arn:aws:s3:::{bucket}" if key is None else f"arn:aws:s3:::{bucket}/{key}"


def queue_arn(queue: str, account: str, region: str) -> str:
    """The ARN of a queue, or of those that ``queue`` (a pattern) names."""
    return f"arn:aws:sqs:{region}:{account}:{queue}"


def role_arn(role: str, account: str) -> str:
    """The ARN of an IAM role."""
    return f"arn:aws:iam::{account}:role/{role}"


def experiment_arns(experiment: str, account: str, region: str) -> list[str]:
    """The ARNs of all that the SageMaker SDK makes for an experiment and its runs."""
    return [
        f"arn:aws:sagemaker:{region}:{account}:{resource}"
        for resource in (
            f"experiment/{experiment}",
            f"experiment-trial/default-run-group-{experiment}",
            f"experiment-trial-component/{experiment}-*",
        )
    ]
