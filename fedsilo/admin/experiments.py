"""The experiments in which SageMaker holds a run."""

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from fedsilo import aws
from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import Status


def experiments_of(record: Record, region: str) -> list[str]:
    """The names of the experiments in which SageMaker holds the run: the aggregator's first, then the silos'.

    Args:
        record: The run, whose statuses name the experiments.
        region: The Region that is asked, in the account of the caller's credentials.
    """
    sagemaker = boto3.client("sagemaker", region_name=region, config=aws.config())
    found = []
    for party in record.run.parties:
        name = record.statuses.get(party, Status()).experiment
        try:
            sagemaker.describe_trial_component(TrialComponentName=f"{name}-{record.run.id}")
            found.append(sagemaker.describe_experiment(ExperimentName=name)["ExperimentName"])
        except (ClientError, BotoCoreError):
            continue
    return found
