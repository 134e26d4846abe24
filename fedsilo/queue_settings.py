"""Attributes of the hub's queues, for the hub's stack and the local federation alike, and how long a receiver polls."""

VISIBILITY_TIMEOUT_SECONDS = 60
"""Seconds for which a received message is hidden, so that it can be acknowledged; longer than a long poll. What a
killed trainer held comes back soon."""

LONG_POLL_SECONDS = 20
"""SQS's longest wait for a message; a party that waits makes one call in this time."""

MAX_RECEIVE_COUNT = 5
"""How often a message is delivered before it counts as undeliverable: a trainer may be killed while it holds one."""

RETENTION_SECONDS = 14 * 24 * 3600
"""Seconds for which a message waits for its party: as long as SQS allows."""
