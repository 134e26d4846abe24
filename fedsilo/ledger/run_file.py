"""How a party reads ``run.json``: the version that the request names, checked against the digest and the party."""

import hashlib

from fedsilo.config.environment import Settings
from fedsilo.config.run import RUN_JSON_BYTES, Run, RunIdentity
from fedsilo.errors import AccessError, HubError, SpecError
from fedsilo.keys import RunKeys
from fedsilo.ledger.objects import MailBucket

_CHANGED = "it was changed after the request; start a run under another id"


def fetch(bucket: MailBucket, settings: Settings, identity: RunIdentity) -> Run:
    """Read a run as the operator wrote it and the party's policy was asked about it.

    Args:
        bucket: The mail bucket, as the reader's role reaches it.
        settings: The party that takes part.
        identity: Which run.json the request names.

    Returns:
        The run, in which the party takes part.

    Raises:
        SpecError: run.json is not valid, not for this party, or not the one that is meant.
        HubError: run.json does not exist, or AWS does not answer.
        AccessError: AWS denies the read.
    """
    key = RunKeys(identity.run).run_json
    started = f"run {identity.run} was started in this federation"
    try:
        found = bucket.get(key, RUN_JSON_BYTES + 1, identity.version)
    except AccessError as error:  # a silo's trainer may not list run.json, so a missing one is denied too
        raise AccessError(f"{error}, and that {started}") from error
    if found is None:
        if identity.version:
            raise SpecError(f"run.json of {identity.run} has no version {identity.version}: {_CHANGED}")
        raise HubError(f"not found: {settings.role} could not read {bucket.name}/{key}; check that {started}")
    run = _parse(identity, found.body)
    if (run.id, run.federation) != (identity.run, settings.federation):
        raise SpecError(f"run.json of {identity.run} is of run {run.id} in federation {run.federation}")
    run.rank(settings.party)
    return run


def _parse(identity: RunIdentity, body: bytes) -> Run:
    if len(body) > RUN_JSON_BYTES:
        raise SpecError(f"run.json of {identity.run} is larger than {RUN_JSON_BYTES:,} bytes")
    if (found := hashlib.sha256(body).hexdigest()) != identity.sha256:
        raise SpecError(
            f"run.json of {identity.run} has SHA-256 {found[:16]}…, and the request says {identity.sha256[:16]}…: "
            f"{_CHANGED}"
        )
    return Run.parse(body)
