"""A party's mailbox: messages between two parties, or from the aggregator to all silos.

A mail is one safetensors file, stored as an S3 object below the sender's own prefix; the prefix tells who the sender
is. A notice in the receiver's SQS queue carries the object's key, size and SHA-256. The receiver acknowledges the
notice once it has received it. A notice that is lost does no harm: the mail can be found in the bucket (``last``,
``newest_broadcast``).
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from fedsilo import aws, runtime
from fedsilo.config.environment import Settings
from fedsilo.files import explained
from fedsilo.keys import MailAddress, RunKeys
from fedsilo.messaging import codec
from fedsilo.messaging.codec import Mail, Tensors
from fedsilo.messaging.notice import Notice, NoticeQueues
from fedsilo.messaging.store import MULTIPART_BYTES, MailStore
from fedsilo.names import AGGREGATOR, EVERYONE

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Mailbox:
    """A party's end of the mail of one run.

    Every method that uses the hub raises ``HubError`` if the bucket or a queue is missing or AWS does not answer, and
    ``AccessError`` if the party's role may not use them. While the party's clock or credentials are wrong, they wait,
    up to ``Settings.authentication_seconds``.
    """

    def __init__(self, settings: Settings, run: str, limit: int, multipart_bytes: int = MULTIPART_BYTES) -> None:
        """Find the party's queue, and the number of its next mail.

        Args:
            settings: The party.
            run: The run's id.
            limit: The size in bytes of the largest mail that is opened.
            multipart_bytes: The size in bytes from which on a mail is transferred in parts.
        """
        self.settings = settings
        self.keys = RunKeys(run)
        access = settings.hub_access(settings.role)
        self._queues = NoticeQueues(access, settings.party)
        self._store = MailStore(access, settings.party, limit, multipart_bytes)
        self._opened: set[Notice] = set()
        sent = self._store.addresses(self.keys.outboxes(settings.party))
        self._next_seq = 1 + max((each.seq for each in sent if each.receiver != EVERYONE), default=-1)
        with explained(Path(tempfile.gettempdir())):
            self.spool = Path(tempfile.mkdtemp(prefix="fedsilo-mail-"))
        """The folder of the files that are being sent or received."""

    # --- sending

    def send(
        self, receiver: str, kind: str, round_idx: int, fields: Mapping[str, Any], groups: Mapping[str, Tensors]
    ) -> None:
        """Send a mail to one party.

        Args:
            receiver: The party.
            kind: The kind of mail.
            round_idx: The round that the mail belongs to, from 0.
            fields: JSON values by name.
            groups: Tensors by group and name.
        """
        address = self.keys.mail(self.settings.party, receiver, self._next_seq, kind, round_idx)
        self._next_seq += 1
        notice = self._upload(address, kind, round_idx, fields, groups)
        self._wait(lambda: self._queues.send(receiver, notice))

    def broadcast(
        self,
        receivers: Iterable[str],
        kind: str,
        round_idx: int,
        fields: Mapping[str, Any],
        groups: Mapping[str, Tensors],
    ) -> Notice:
        """Send one mail to several parties: one object, which is the round's checkpoint too. Returns its notice."""
        notice = self._upload(self.keys.broadcast(round_idx), kind, round_idx, fields, groups)
        receivers = list(receivers)
        self._wait(lambda: self._queues.send_to_all(receivers, notice))
        return notice

    def remind(self, receiver: str, notice: Notice) -> None:
        """Send a notice again, such as that of a broadcast to a silo that joins late."""
        self._wait(lambda: self._queues.send(receiver, notice))

    def publish_model(self, model: Tensors) -> None:
        """Store the run's result as the party's ``model.safetensors``, under the tensors' own names."""
        with self._spooled() as path:
            codec.save(path, model)
            self._wait(lambda: self._store.upload_model(path, self.keys.model(self.settings.party)))

    # --- receiving

    def receive(self, seconds: float) -> list[Notice]:
        """Wait for notices, up to ``seconds`` and at most ``queue_settings.LONG_POLL_SECONDS``.

        Notices of another run are left for whom they are for. Those for another party, or of a mail that was opened
        before, are dropped with a line in the log. The notice of a broadcast may come more than once, because it is
        sent again on purpose.
        """
        found = self._wait(lambda: self._queues.receive(self.keys.run, seconds))
        return [notice for notice in found if self._is_wanted(notice)]

    def verify(self, notice: Notice) -> None:
        """Check that a mail is in the bucket as its notice says, without downloading it.

        Raises:
            NoticeError: The notice is wrong, as in ``open``.
            MailError: The mail is too large.
        """
        self._wait(lambda: self._store.verify(notice))

    def open(self, notice: Notice) -> Mail:
        """Download a mail and check its size, digest and format.

        Raises:
            NoticeError: The notice is wrong: there is no such mail, or it is not as the notice says.
            MailError: The object is not a mail of this run. Only its sender can have stored it.
        """
        with self._spooled() as path:
            with explained(path, notice.size):
                self._wait(lambda: self._store.download(notice, path))
            mail = codec.read(path, notice)
        self._opened.add(notice)
        return mail

    # --- finding what was mailed before

    def newest_broadcast(self) -> Notice | None:
        """The newest global model, from which a party that was started again continues."""
        return self._wait(lambda: self._store.newest(self.keys.outbox(AGGREGATOR, EVERYONE)))

    def last(self, sender: str, kind: str) -> Notice | None:
        """The last mail of a kind that ``sender`` sent to this party."""
        return self._wait(lambda: self._store.newest(self.keys.outbox(sender, self.settings.party), kind))

    def last_sent(self, receiver: str, kind: str) -> Notice | None:
        """The last mail of a kind that this party sent to ``receiver``, before or after it was started again."""
        return self._wait(lambda: self._store.newest(self.keys.outbox(self.settings.party, receiver), kind))

    def close(self) -> None:
        """Finish what is done in the background, and remove the spool. Safe to call twice."""
        self._queues.close()
        shutil.rmtree(self.spool, ignore_errors=True)

    def _upload(
        self,
        address: MailAddress,
        kind: str,
        round_idx: int,
        fields: Mapping[str, Any],
        groups: Mapping[str, Tensors],
    ) -> Notice:
        with self._spooled() as path:
            codec.write(path, kind, round_idx, fields, groups)
            return self._wait(lambda: self._store.upload(path, address))

    def _wait(self, action: Callable[[], _T]) -> _T:
        """Do something in the hub, as soon as AWS accepts the party's credentials."""
        return aws.when_authenticated(self.settings.authentication_seconds, action)

    def _is_wanted(self, notice: Notice) -> bool:
        address = notice.address
        if address.receiver not in (self.settings.party, EVERYONE):
            log.warning("dropped mail for %s", address.receiver)
        elif notice in self._opened and address.receiver != EVERYONE:
            log.info("dropped a second notice of %s", notice.key)
        else:
            return True
        return False

    @contextmanager
    def _spooled(self) -> Iterator[Path]:
        """The path of a new file. It is removed at the end of the block; tensors that are views of it stay valid."""
        path = self.spool / runtime.token(16)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
