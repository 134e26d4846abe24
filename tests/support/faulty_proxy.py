"""An HTTP proxy before the emulator that answers 500 and 503 in AWS's place, or breaks connections, for a while."""

import functools
import http.client
import itertools
import re
import threading
from collections import Counter
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

_SCOPE = re.compile(r"Credential=[^/]+/[0-9]+/[^/]+/(?P<service>[a-z0-9-]+)/")


class FaultyProxy:
    """Forwards to ``upstream``, except the calls that ``fail_next`` names. ``failed`` counts those, by service."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.failed: Counter[str] = Counter()
        self.metrics: list[bytes] = []
        """The bodies of the calls that record metrics in SageMaker."""
        self._to_fail: Counter[str] = Counter()
        self._to_cut = 0
        self._codes = itertools.cycle([500, 503])
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def next_failure(self, service: str) -> int | None:
        """The status with which this call of the service fails; None if it does not."""
        if self._to_fail[service] <= self.failed[service]:
            return None
        self.failed[service] += 1
        return next(self._codes)

    def next_cut(self) -> bool:
        """Whether the connection of this answer breaks in the middle."""
        cut = self._to_cut > 0
        self._to_cut -= cut
        return cut

    def fail_next(self, **calls: int) -> None:
        """Answer the next so many calls of each service, of whichever party, with 500 and 503 in turn."""
        self._to_fail.update(calls)

    def cut_next(self, answers: int) -> None:
        """Break the connection in the middle of the next so many answers that have a body."""
        self._to_cut = answers

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, proxy: FaultyProxy, *connection: Any) -> None:
        self._proxy = proxy
        super().__init__(*connection)

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        scope = _SCOPE.search(self.headers.get("Authorization", ""))
        if self.path == "/BatchPutMetrics":
            self._proxy.metrics.append(body)
        if code := self._proxy.next_failure(scope["service"] if scope else ""):
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with closing(http.client.HTTPConnection(self._proxy.upstream, timeout=60)) as upstream:
            upstream.request(self.command, self.path, body, dict(self.headers))
            self._pass_on(upstream.getresponse())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command == "GET" and content and self._proxy.next_cut():
            content = content[: len(content) // 2]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
