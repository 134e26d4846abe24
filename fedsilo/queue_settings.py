"""How a queue of the hub behaves, which the hub's stack and the embedded AWS both make so, and how long it is asked."""

VISIBILITY_TIMEOUT_SECONDS = 60
"""Seconds for which a received message is hidden, so that it can be acknowledged; longer than a long poll. What a
killed trainer held comes back soon."""

LONG_POLL_SECONDS = 20
"""SQS's longest wait for a message; a party that waits makes one call in this time."""

MAX_RECEIVE_COUNT = 5
"""How often a message is delivered before it counts as undeliverable: a trainer may be killed while it holds one."""

RETENTION_SECONDS = 14 * 24 * 3600
"""Seconds for which a message waits for its party: as long as SQS allows."""
