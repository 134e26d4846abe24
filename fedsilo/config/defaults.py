"""What a run gets unless its operator chooses otherwise, in ``run start`` and in the demo.

This module imports nothing, because the command line shows these values in its help and must start fast.
"""

ROUNDS = 50
"""Models as small as the examples' stop improving well before this."""

DEADLINE_SECONDS = 120.0
"""How long a round stays open. The examples take far less; a silo that has died delays the others once by this time."""

JOIN_SECONDS = 600.0
"""How long silos may take to start. A cluster that had scaled to zero needs a node and an image of several GB."""
