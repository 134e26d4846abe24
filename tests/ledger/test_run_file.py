"""How a party reads run.json, and what becomes of one that is exchanged after the request."""

import pytest

from fedsilo.config.run import RunIdentity
from fedsilo.errors import SpecError
from fedsilo.ledger import run_file
from fedsilo.ledger.objects import MailBucket
from tests.support.hub import Hub


class Operator:
    """An operator who has started a run, and may overwrite its run.json."""

    def __init__(self, hub: Hub, *, versioned: bool) -> None:
        self.hub = hub
        self.bucket = MailBucket(hub.settings("aggregator").hub_access("the test"))
        if versioned:
            self.bucket.s3.put_bucket_versioning(Bucket=hub.bucket, VersioningConfiguration={"Status": "Enabled"})
        body = hub.run.model_dump_json().encode()
        written = self.bucket.create(hub.run.keys.run_json, body)
        assert written is not None
        self.identity = RunIdentity.of(hub.run.id, body, written.version)

    def exchange(self) -> None:
        """Write a run of more rounds than the policies allow over the one that they were asked about."""
        more = self.hub.run.model_copy(update={"rounds": 100_000})
        self.bucket.put(self.hub.run.keys.run_json, more.model_dump_json().encode())


@pytest.mark.parametrize("party", ["aggregator", "cleveland", "hungary"])
def test_every_party_takes_the_version_that_was_requested(hub: Hub, party: str) -> None:
    operator = Operator(hub, versioned=True)
    operator.exchange()
    assert run_file.fetch(operator.bucket, hub.settings(party), operator.identity) == hub.run


@pytest.mark.parametrize("party", ["aggregator", "cleveland", "hungary"])
def test_every_party_refuses_another_run_json_where_the_bucket_keeps_no_versions(hub: Hub, party: str) -> None:
    operator = Operator(hub, versioned=False)
    assert run_file.fetch(operator.bucket, hub.settings(party), operator.identity) == hub.run
    operator.exchange()
    with pytest.raises(SpecError, match=r"has SHA-256 .* it was changed after the request; start a run under another"):
        run_file.fetch(operator.bucket, hub.settings(party), operator.identity)


@pytest.mark.parametrize("version", ["00000000-0000-0000-0000-000000000000", "?", "null"])
def test_a_version_that_does_not_exist_is_refused(hub: Hub, version: str) -> None:
    operator = Operator(hub, versioned=True)
    identity = RunIdentity(hub.run.id, operator.identity.sha256, version)
    with pytest.raises(SpecError, match=r"it was changed after the request|has no version"):
        run_file.fetch(operator.bucket, hub.settings("hungary"), identity)
