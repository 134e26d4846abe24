"""The requests that wait for the agent's loop. A thread of their own receives them by long polls."""

from collections import deque
from collections.abc import Callable
from pathlib import Path

from fedsilo import runtime
from fedsilo.agent import health
from fedsilo.agent.health import Probe
from fedsilo.agent.hub import AgentHub, Delivery
from fedsilo.agent.retries import retry


class Inbox:
    """Messages of the control queue between the thread that receives them and the loop that handles them."""

    def __init__(self, hub: AgentHub, folder: Path, received: Callable[[], None]) -> None:
        """Receive nothing yet.

        Args:
            hub: Where the control queue is.
            folder: The folder of the agent's probe files.
            received: Is called, from the receiving thread, when there are messages.
        """
        self._hub, self._folder, self._received = hub, folder, received
        self._deliveries: deque[Delivery] = deque()
        self._handled = runtime.event()

    def start_receiving(self) -> None:
        """Receive messages in a thread of its own, for ever."""
        runtime.start_thread("receive", self._receive)

    def put(self, *deliveries: Delivery) -> None:
        """Add messages."""
        self._handled.clear()
        self._deliveries.extend(deliveries)
        self._received()

    def handle_all(self, handle: Callable[[Delivery], None]) -> None:
        """Take the messages out, the oldest first, and call ``handle`` for each."""
        try:
            while self._deliveries:
                handle(self._deliveries.popleft())
        finally:
            self._handled.set()

    def _receive(self) -> None:
        while True:
            retry(self._receive_once)

    def _receive_once(self) -> None:
        """Wait for messages, and then until they are handled, so that no message is received twice meanwhile.

        moto, too, needs that: for the whole of a long poll it holds back the message groups that were in somebody's
        hands when the poll began.
        """
        deliveries = self._hub.receive()
        health.touch(self._folder, Probe.READY)
        if deliveries:
            self.put(*deliveries)
            self._handled.wait()
