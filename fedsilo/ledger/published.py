"""Which silos publish the model that they trained last, for everything that shows a run."""

from collections.abc import Mapping

from fedsilo.ledger.schema import Status
from fedsilo.text import members


def local_models(statuses: Mapping[str, Status]) -> str:
    """Which parties publish a local model and which don't, in words; empty if no trainer has said so yet."""
    publishing = [party for party, status in statuses.items() if status.publishes_model]
    keeping = [party for party, status in statuses.items() if status.publishes_model is False]
    parts = [
        f"published by {members(publishing)}" if publishing else "",
        f"not published by {members(keeping)}, as the policy says" if keeping else "",
    ]
    return "; ".join(filter(None, parts))
