"""moto server as fedsilo runs it: ``fedsilo.local.emulator`` starts this module in a process of its own.

``moto_s3`` and ``moto_sqs`` change moto where it is slow, or differs from AWS in a way that a federation would notice.
They reach into moto's internals, so they are made for one version of it: check each change when moto is updated.
"""

import gc
import hmac
import io
import os
import re
import socket
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import moto.backends
from moto.core.common_models import BaseModel
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from fedsilo import runtime
from fedsilo.aws import DISK_FULL
from fedsilo.files import disk_error
from fedsilo.local import moto_s3, moto_sqs
from fedsilo.local.emulator import ACCESS_KEY_VARIABLE

LARGE_BYTES = 2**23
"""Before a body of this size is read, the memory of earlier ones is freed."""

_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=(?P<access_key>[^/]+)/")

MOTO_VERSION = "5.2.5"
"""The version of moto that is changed, as pinned in pyproject.toml."""

if version("moto") != MOTO_VERSION:
    raise ImportError(
        f"moto {version('moto')} is installed, and the local AWS emulator needs moto {MOTO_VERSION}, whose "
        "internals it patches; `make setup` in a checkout installs it, or pip install 'fedsilo[local]'"
    )


class _Caller(threading.local):
    """What the current thread answers."""

    socket: socket.socket


class _Handler(MotoRequestHandler):  # type: ignore[misc]
    # HTTP/1.0 has no "100 Continue", for which clients would wait a second.
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes; the second would wait 40 ms for the ACK of the first.
    disable_nagle_algorithm = True

    def log_request(self, *_: object) -> None:
        """Log nothing."""


def _refusal(environ: Mapping[str, Any], access_key: str) -> str:
    """Why a request is refused; empty if it comes from a client of the emulator.

    A page in a browser reaches the loopback interface too, under a name that it has made point there. Its requests
    carry that name, or the page's origin; no client of AWS sends an origin.
    """
    host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0]
    if host not in ("127.0.0.1", "localhost"):
        return "the Host is not this machine"
    if "HTTP_ORIGIN" in environ:
        return "a request with an Origin comes from a web page"
    if environ["PATH_INFO"].startswith("/moto-api"):
        return "moto's own interface is closed"
    credential = _CREDENTIAL.match(environ.get("HTTP_AUTHORIZATION", ""))
    if not (credential and hmac.compare_digest(credential["access_key"], access_key)):
        return "the request is not signed with this emulator's access key"
    return ""


def _answer(start_response: Any, status: str, code: str, message: str) -> list[bytes]:
    """An error as S3 and most other services word it."""
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>".encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def _application(caller: _Caller, folder: Path, access_key: str) -> Any:
    """The WSGI application: moto's, for the emulator's clients only. It gets each body in one piece."""
    backends = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        # werkzeug would read a large body in small pieces, which takes half of the time of the call.
        caller.socket = environ["werkzeug.socket"]
        if refusal := _refusal(environ, access_key):
            return _answer(start_response, "403 Forbidden", "AccessDenied", f"the local AWS emulator: {refusal}")
        if not environ.get("wsgi.input_terminated"):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            if length >= LARGE_BYTES:
                gc.collect()  # a request is a cycle of objects, which would keep its body for a while
            body = environ["wsgi.input"].read(length)
            environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        try:
            return backends(environ, start_response)
        except OSError as error:
            if full := disk_error(error, folder, int(environ.get("CONTENT_LENGTH") or 0)):
                return _answer(start_response, "507 Insufficient Storage", DISK_FULL, str(full))
            raise

    return application


def _patch_core() -> None:
    """Change what all of moto's services share."""
    # moto would read the folder of its services again for each request.
    services = tuple(moto.backends.list_of_moto_modules())
    moto.backends.list_of_moto_modules = lambda: services
    # moto would keep every object and every message for ever, for its dashboard.
    BaseModel.__new__ = lambda cls, *_, **__: object.__new__(cls)


def serve(folder: Path, access_key: str) -> None:
    """Listen on a free loopback port, print the port, and serve until standard input closes.

    Standard input closes when the process that started this one ends.

    Args:
        folder: Where the content of large objects lies.
        access_key: The access key id with which the clients sign.
    """
    caller = _Caller()
    _patch_core()
    moto_s3.patch_moto(folder)
    moto_sqs.patch_moto(caller)
    application = _application(caller, folder, access_key)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Handler)
    gc.freeze()  # what was imported: no later collection looks at it
    print(server.server_port, flush=True)  # noqa: T201
    runtime.start_thread("moto", server.serve_forever)
    sys.stdin.read()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), os.environ[ACCESS_KEY_VARIABLE])
