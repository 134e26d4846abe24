"""The CDK app: reads the federation's file and composes its stacks; nothing else."""

import os
import sys

import aws_cdk as cdk

from fedsilo.config.federation import Federation, Silo
from fedsilo.config.load import load_federation
from fedsilo.errors import SpecError
from stacks.alarms import AlarmsStack
from stacks.base import FLAGS
from stacks.cluster import ClusterStack
from stacks.data import DataStack
from stacks.hub import HubStack
from stacks.network import NetworkStack
from stacks.store import StoreStack
from stacks.workload import WorkloadStack


def compose(federation: Federation, outdir: str | None = None) -> cdk.App:
    """An app with every stack of the federation."""
    app = cdk.App(context=FLAGS, outdir=outdir, analytics_reporting=False)
    if federation.control_plane == "self-hosted":
        hub = HubStack(app, federation=federation)
        AlarmsStack(app, federation=federation, topic=hub.alarm_topic)
    for party in federation.parties:
        network = NetworkStack(app, federation=federation, party=party)
        cluster = ClusterStack(app, federation=federation, party=party, vpc=network.vpc)
        data = DataStack(app, federation=federation, party=party, logs=network.logs) if party.data == "s3" else None
        store = None
        if isinstance(party, Silo) and federation.control_plane == "self-hosted":
            store = StoreStack(app, federation=federation, silo=party, logs=network.logs)
        WorkloadStack(
            app,
            federation=federation,
            party=party,
            cluster=cluster.cluster,
            data_key=data.key if data else None,
            store_key=store.key if store else None,
        )
    return app


if __name__ == "__main__":
    try:
        compose(load_federation(os.environ.get("FEDSILO_FEDERATION_FILE", "federation.yaml"))).synth()
    except SpecError as error:
        sys.exit(str(error))
