"""A Kubernetes API server for tests: real HTTP on the loopback interface, one namespace, state in memory.

It answers the calls on CronJobs, Jobs, pods and their logs, keeps resource versions and a history for watches, and
records every call as RBAC sees it. What controllers and nodes would do, the test does: ``add_pod``, ``pod_status``,
``end_job``. Answers follow https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import itertools
import json
import re
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[a-z]+)/v1)/namespaces/(?P<namespace>[\w-]+)/(?P<kind>[a-z]+)"
    r"(?:/(?P<name>[\w.-]+))?(?:/(?P<sub>[a-z]+))?"
)


class FakeKubernetes:
    """The API server. It listens at ``url``; ``calls`` has each call as (group, resource, name, verb), as Roles do."""

    def __init__(self) -> None:
        self.calls: set[tuple[str, str, str, str]] = set()
        self.refusals: list[tuple[str, int, str, str]] = []  # what to refuse next: verb, code, reason, message
        self.logs: dict[str, str] = {}
        self.watches = self.expired = 0
        self._objects: dict[tuple[str, str], Object] = {}
        self._history: list[tuple[int, str, str, Object]] = []  # version, kind, type, object
        self._oldest = 0  # watches from before get 410
        self._version = itertools.count(1)
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- what controllers, nodes and people do

    def put(self, kind: str, thing: Object) -> Object:
        """Create or change an object, as somebody else would."""
        with self._changed:
            name = thing["metadata"]["name"]
            known = (kind, name) in self._objects
            thing["metadata"].setdefault("creationTimestamp", _now())
            thing["metadata"]["resourceVersion"] = str(version := next(self._version))
            self._objects[kind, name] = thing
            self._history.append((version, kind, "MODIFIED" if known else "ADDED", json.loads(json.dumps(thing))))
            self._changed.notify_all()
            return thing

    def remove(self, kind: str, name: str) -> None:
        with self._changed:
            thing = self._objects.pop((kind, name))
            self._history.append((next(self._version), kind, "DELETED", thing))
            self._changed.notify_all()

    def all(self, kind: str) -> list[Object]:
        return [thing for (k, _), thing in self._objects.items() if k == kind]

    def job(self, name: str) -> Object:
        return self._objects["jobs", name]

    def add_pod(self, job: str, *, age: float = 0.0) -> str:
        """Create a pod from the Job's template, as the Job controller does."""
        template = self.job(job)["spec"]["template"]
        name = f"{job}-{len(self.all('pods'))}"
        created = datetime.fromtimestamp(time.time() - age, UTC).isoformat(timespec="microseconds")
        metadata = {
            "name": name,
            "labels": template["metadata"]["labels"] | {"batch.kubernetes.io/job-name": job},
            "creationTimestamp": created.replace("+00:00", "Z"),
        }
        self.put("pods", {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})
        return name

    def pod_status(self, name: str, phase: str, **status: Any) -> None:
        pod = self._objects["pods", name]
        self.put("pods", {**pod, "status": {"phase": phase, **status}})

    def end_job(self, name: str, kind: str, reason: str = "", message: str = "") -> None:
        """End a Job as the Job controller does: ``Complete`` or ``Failed``."""
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        self.put("jobs", {**self.job(name), "status": {"conditions": [condition]}})

    def forget_history(self) -> None:
        """Compact etcd: watches that continue from an older version get 410."""
        with self._changed:
            self._oldest = next(self._version)
            self._history.clear()

    def break_watches(self) -> None:
        """End every open watch, as a restarted API server does."""
        with self._changed:
            self.watches += 1
            self._changed.notify_all()

    # --- the API

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        kind, name, sub, query = self._asked(handler)
        verb = "get" if name else "watch" if query.get("watch") == "true" else "list"
        if self._refused(handler, kind, name, sub, verb):
            return
        if sub == "log":
            self._send_log(handler, name)
        elif name:
            thing = self._objects.get((kind, name))
            _answer(handler, 200, thing) if thing else _status(handler, 404, "NotFound", f'{kind} "{name}" not found')
        elif verb == "watch":
            self._watch(handler, kind, query)
        else:
            items = [thing for thing in self.all(kind) if _selected(thing, query)]
            _answer(handler, 200, {"metadata": {"resourceVersion": str(next(self._version))}, "items": items})

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        kind, _, _, _ = self._asked(handler)
        thing = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        if self._refused(handler, kind, "", "", "create"):
            return
        name = thing["metadata"]["name"]
        if (kind, name) in self._objects:
            _status(handler, 409, "AlreadyExists", f'{kind} "{name}" already exists')
        else:
            _answer(handler, 201, self.put(kind, thing))

    def _delete(self, handler: BaseHTTPRequestHandler) -> None:
        """Foreground: the object stays, with a deletionTimestamp, until the test removes it and its pods."""
        kind, name, _, _ = self._asked(handler)
        body = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length") or 0)) or "{}")
        if self._refused(handler, kind, name, "", "delete"):
            return
        thing = self._objects.get((kind, name))
        if thing is None:
            _status(handler, 404, "NotFound", f'{kind} "{name}" not found')
            return
        policy = parse_qs(urlsplit(handler.path).query).get("propagationPolicy", [body.get("propagationPolicy")])[0]
        assert policy == "Foreground", policy
        thing["metadata"]["deletionTimestamp"] = _now()
        _answer(handler, 200, self.put(kind, thing))

    def _watch(self, handler: BaseHTTPRequestHandler, kind: str, query: dict[str, str]) -> None:
        since = int(query["resourceVersion"]) if "resourceVersion" in query else None
        if since is not None and since < self._oldest:
            self.expired += 1
            _status(handler, 410, "Expired", "too old resource version")
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with self._changed:
            events = [("ADDED", each) for each in self.all(kind) if _selected(each, query)] if since is None else []
            seen = next(self._version) if since is None else since
            generation = self.watches
        until = time.monotonic() + float(query.get("timeoutSeconds", 60))
        try:
            while True:
                for event, thing in events:
                    _chunk(handler, json.dumps({"type": event, "object": thing}).encode() + b"\n")
                with self._changed:
                    if time.monotonic() > until or self.watches != generation:
                        break
                    self._changed.wait(0.2)
                    news = [each for each in self._history if each[0] > seen and each[1] == kind]
                    events = [(each[2], each[3]) for each in news if _selected(each[3], query)]
                    seen = max([seen, *(each[0] for each in news)])
            _chunk(handler, b"")
        except OSError:
            handler.close_connection = True

    def _send_log(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        if ("pods", name) not in self._objects:
            _status(handler, 404, "NotFound", f'pods "{name}" not found')
        elif name not in self.logs:
            _status(handler, 400, "BadRequest", f'container "trainer" in pod "{name}" is waiting to start')
        else:
            tail = int(parse_qs(urlsplit(handler.path).query)["tailLines"][0])
            body = "".join(self.logs[name].splitlines(keepends=True)[-tail:]).encode()
            handler.send_response(200)
            handler.send_header("Content-Type", "text/plain")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

    def _asked(self, handler: BaseHTTPRequestHandler) -> tuple[str, str, str, dict[str, str]]:
        parts = urlsplit(handler.path)
        found = _PATH.fullmatch(parts.path)
        assert found, handler.path
        assert found["namespace"] == "fedsilo"
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        resource = "/".join(filter(None, (found["kind"], found["sub"])))
        verb = {"POST": "create", "DELETE": "delete"}.get(
            handler.command, "get" if found["name"] else "watch" if query.get("watch") == "true" else "list"
        )
        named = found["name"] if found["kind"] == "cronjobs" else ""
        self.calls.add((found["group"] or "", resource, named or "", verb))
        return found["kind"], found["name"] or "", found["sub"] or "", query

    def _refused(self, handler: BaseHTTPRequestHandler, kind: str, name: str, sub: str, verb: str) -> bool:
        for refusal in self.refusals:
            if refusal[0] == f"{verb} {kind}{'/' if sub else ''}{sub}":
                self.refusals.remove(refusal)
                _status(handler, *refusal[1:])
                return True
        return False


def _handler_of(fake: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    """A class whose instances hand their requests to the API server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fake._get(self)

        def do_POST(self) -> None:
            fake._post(self)

        def do_DELETE(self) -> None:
            fake._delete(self)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _selected(thing: Object, query: dict[str, str]) -> bool:
    key, _, value = query.get("labelSelector", "").partition("=")
    labels = thing["metadata"].get("labels", {})
    return not key or (key in labels and (not value or labels[key] == value.lstrip("=")))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _answer(handler: BaseHTTPRequestHandler, code: int, body: Object | None) -> None:
    text = json.dumps(body).encode()
    handler.send_response(code)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def _status(handler: BaseHTTPRequestHandler, code: int, reason: str, message: str) -> None:
    _answer(handler, code, {"kind": "Status", "code": code, "reason": reason, "message": message})


def _chunk(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    handler.wfile.flush()
