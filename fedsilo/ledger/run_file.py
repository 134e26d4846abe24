"""How a party reads ``run.json``: checked against the request's digest, and against who the party is."""

import hashlib

from fedsilo.config.environment import Settings
from fedsilo.config.run import RUN_JSON_BYTES, Run
from fedsilo.errors import AccessError, HubError, SpecError
from fedsilo.keys import RunKeys
from fedsilo.ledger.objects import MailBucket


def fetch(bucket: MailBucket, settings: Settings, run_id: str, sha256: str | None = None) -> Run:
    """Read a run as the operator wrote it.

    Args:
        bucket: The mail bucket, as the reader's role reaches it.
        settings: The party that takes part.
        run_id: The run's id.
        sha256: The digest of run.json in hexadecimal, where a request names it.

    Returns:
        The run, in which the party takes part.

    Raises:
        SpecError: run.json is not valid, not for this party, or does not have the digest.
        HubError: run.json does not exist, or AWS does not answer.
        AccessError: AWS denies the read.
    """
    key = RunKeys(run_id).run_json
    started = f"run {run_id} was started in this federation"
    try:
        found = bucket.get(key, RUN_JSON_BYTES + 1)
    except AccessError as error:  # a silo's trainer may not list run.json, so a missing one is denied too
        raise AccessError(f"{error}, and that {started}") from error
    if found is None:
        raise HubError(f"not found: {settings.role} could not read {bucket.name}/{key}; check that {started}")
    run = _parse(run_id, found.body, sha256)
    if (run.id, run.federation) != (run_id, settings.federation):
        raise SpecError(f"run.json of {run_id} is of run {run.id} in federation {run.federation}")
    run.rank(settings.party)
    return run


def _parse(run_id: str, body: bytes, sha256: str | None) -> Run:
    if len(body) > RUN_JSON_BYTES:
        raise SpecError(f"run.json of {run_id} is larger than {RUN_JSON_BYTES:,} bytes")
    if sha256 and (found := hashlib.sha256(body).hexdigest()) != sha256:
        raise SpecError(f"run.json of {run_id} has SHA-256 {found[:16]}…, and the request says {sha256[:16]}…")
    return Run.parse(body)
