"""The record of a run, read back from its ledger and from SageMaker: what a reader may know of it."""

import json
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from fedsilo import aws, names
from fedsilo.run import Run

TERMINAL = ("FINISHED", "FAILED", "REFUSED", "ABORTED")
"""The states of a party whose part is over."""


@dataclass(frozen=True)
class Record:
    """A run's ledger. ``statuses`` and ``lines`` are by party; a party that has written nothing is missing."""

    run: Run
    statuses: dict[str, dict[str, Any]]
    lines: dict[str, list[dict[str, Any]]]

    def opened(self) -> list[float]:
        """When each round was opened, in seconds since the epoch, round 0 first."""
        times: dict[int, float] = {}
        for line in self.lines.get(names.AGGREGATOR, []):
            if line.get("kind") == "event" and line.get("name") == "opened":
                times.setdefault(line["round"], line["time"])
        return [times[round_idx] for round_idx in sorted(times)]

    @property
    def rounds_completed(self) -> int:
        return max(0, len(self.opened()) - 1)

    @property
    def round_seconds_median(self) -> float | None:
        """The median time from one round's opening to the next one's, in seconds; None before the second."""
        opened = self.opened()
        return statistics.median(after - before for before, after in pairwise(opened)) if opened[1:] else None

    def metric(self, name: str, silo: str | None = None) -> float | None:
        """The last value of a metric of the global model: over all silos, or of one."""
        for line in reversed(self.lines.get(names.AGGREGATOR, [])):
            if line.get("kind") == "metric" and line.get("name") == name and line.get("silo") == silo:
                return float(line["value"])
        return None


class Reader:
    """Reads ledgers from a federation's mail bucket, and begins them."""

    def __init__(self, federation: str, account: str, region: str) -> None:
        self._bucket = names.mail_bucket(federation, account, region)
        self._s3 = aws.s3(region)
        self._missing = f"stack {federation}-hub is deployed in {region}"

    def put_run(self, run: Run) -> None:
        """Write ``run.json``, which is how a run begins."""
        with aws.explained("the operator", f"write {self._bucket}/{run.keys.run_json}", self._missing):
            self._s3.put_object(Bucket=self._bucket, Key=run.keys.run_json, Body=run.model_dump_json().encode())

    def statuses(self, run: Run) -> dict[str, dict[str, Any]]:
        """``status.json`` of every party that has one."""
        found = {party: self._get(run.keys.status(party)) for party in _parties(run)}
        return {party: json.loads(body) for party, body in found.items() if body is not None}

    def record(self, run: Run) -> Record:
        """Everything the ledger holds of the run."""
        lines = {}
        for party in _parties(run):
            body = self._get(run.keys.metrics(party))
            if body is not None:
                lines[party] = [json.loads(line) for line in body.splitlines()]
        return Record(run, self.statuses(run), lines)

    def model(self, run: Run, party: str = names.AGGREGATOR) -> bytes | None:
        """The party's ``model.safetensors``, or None where it has published none."""
        return self._get(run.keys.model(party))

    def _get(self, key: str) -> bytes | None:
        with aws.explained("the reader", f"read {self._bucket}/{key}", self._missing):
            try:
                return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    return None
                raise


def experiments(record: Record, region: str) -> list[str]:
    """The experiments in which SageMaker has this run, by the names that it gives: the aggregator's, then the silos'.

    Reads in one account and Region: that of the caller's credentials.
    """
    sagemaker = boto3.client("sagemaker", region_name=region, config=aws.config())
    found = []
    for party in _parties(record.run):
        name = record.statuses.get(party, {}).get("experiment", "")
        try:
            sagemaker.describe_trial_component(TrialComponentName=f"{name}-{record.run.run}")
            found.append(sagemaker.describe_experiment(ExperimentName=name)["ExperimentName"])
        except (ClientError, BotoCoreError):
            continue
    return found


def _parties(run: Run) -> list[str]:
    return [names.AGGREGATOR, *run.silos]
