"""What a run gets that its operator does not choose: the same for ``run start`` and the demo."""

ROUNDS = 50
"""A federation of small models has long stopped to improve by then."""

DEADLINE_SECONDS = 120.0
"""How long a round stays open: far longer than the examples take, and what a silo that died costs the others, once."""

JOIN_SECONDS = 600.0
"""How long silos may take to come up: a cluster that had scaled to zero gets a node and pulls an image of gigabytes."""
