"""The settings of the hub's queues, for the hub's stack and the local federation, and how long a receiver polls."""

VISIBILITY_TIMEOUT_SECONDS = 60
"""How long a received message is hidden until it has to be acknowledged. Longer than a long poll, and short enough that
the messages of a killed trainer come back soon."""

LONG_POLL_SECONDS = 20
"""The longest time that SQS lets a call wait for a message. A party that waits makes one call in this time."""

MAX_RECEIVE_COUNT = 5
"""How often a message is delivered before it counts as undeliverable. More than once, because a trainer may be killed
while it holds a message."""

RETENTION_SECONDS = 14 * 24 * 3600
"""How long a message waits for its party: the longest time that SQS allows."""
