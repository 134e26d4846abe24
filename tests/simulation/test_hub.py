"""AWS in memory against moto: the calls of a whole simulated run, made again, have the same outcomes."""

from pathlib import Path

from fedsilo import aws
from fedsilo.local.federation import create_hub
from fedsilo.simulation.federation import SimulatedFederation
from fedsilo.simulation.network import Network
from fedsilo.simulation.world import World
from fedsilo.states import PartyState
from tests.support.federations import described, run_in
from tests.support.recorded_calls import RecordingHub, repeat


def test_every_call_of_a_run_has_the_same_outcome_at_moto(endpoint: str, tmp_path: Path) -> None:
    federation = described("recorded", ("cleveland", "hungary"))
    world = World(seed=1)
    hub = RecordingHub(world, federation, Network())
    simulated = SimulatedFederation(federation, world, hub, tmp_path)
    run = run_in(federation, rounds=2, deadline_seconds=60, join_seconds=60)
    simulated.start(run)
    world.run(lambda: simulated.ended(run), limit_seconds=600)
    assert {simulated.state(run, party) for party in run.parties} == {PartyState.FINISHED}
    create_hub(federation)
    region = federation.aggregator.region
    aws.s3(region).put_bucket_versioning(Bucket=hub.bucket, VersioningConfiguration={"Status": "Enabled"})
    repeated = repeat(hub.calls, region)
    assert len(repeated) > 100
    for call, outcome in repeated:
        before = {name: value for name, value in call.outcome.items() if name != "raw"}
        now = {name: value for name, value in outcome.items() if name != "raw"}
        assert now == before, call
