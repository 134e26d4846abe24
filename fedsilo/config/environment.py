"""Who a party's process is, and where its hub is: the environment that a Job or the local launcher gives it."""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from fedsilo import names
from fedsilo.aws import HubAccess
from fedsilo.errors import SpecError


@dataclass(frozen=True)
class Settings:
    """One party of one federation.

    ``rank`` is 0 at the aggregator and a silo's place in federation.yaml, from 1. ``data`` is ``packaged``, or
    ``s3://bucket/prefix`` for the silo's own bucket.
    """

    federation: str
    party: str
    rank: int
    hub_account: str
    hub_region: str
    data: str = "packaged"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read ``FEDSILO_<FIELD>``. Raises ``SpecError`` naming every variable that is missing or malformed."""
        patterns = {
            "federation": names.NAME_PATTERN,
            "party": names.NAME_PATTERN,
            "rank": "[0-9]{1,4}",
            "hub_account": "[0-9]{12}",
            "hub_region": "[a-z]{2}(-[a-z]+)+-[0-9]",
            "data": r"packaged|s3://[a-z0-9.-]{3,63}/.*",
        }
        values, problems = {"data": "packaged"}, []
        for field, pattern in patterns.items():
            variable = f"FEDSILO_{field.upper()}"
            value = environment.get(variable, values.get(field))
            if value is None:
                problems.append(f"{variable} is not set; the party's workload stack or the local launcher sets it")
            elif not re.fullmatch(pattern, value):
                problems.append(f"{variable}: {value!r} does not match {pattern}")
            else:
                values[field] = value
        if problems:
            raise SpecError("\n".join(problems))
        return cls(
            federation=values["federation"],
            party=values["party"],
            rank=int(values["rank"]),
            hub_account=values["hub_account"],
            hub_region=values["hub_region"],
            data=values["data"],
        )

    def to_environment(self) -> dict[str, str]:
        """The variables that ``from_environment`` reads."""
        return {f"FEDSILO_{field.upper()}": str(value) for field, value in asdict(self).items()}

    @property
    def role(self) -> str:
        """The IAM role behind the party's trainer, for messages about access."""
        return names.trainer_role(self.federation, self.party)

    def hub_access(self, who: str) -> HubAccess:
        """How ``who``, a role of this party, uses the federation's hub."""
        return HubAccess(who, self.federation, self.hub_account, self.hub_region)

    @property
    def bucket(self) -> str:
        return names.mail_bucket(self.federation, self.hub_account, self.hub_region)
