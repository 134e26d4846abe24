"""Trainers as Kubernetes Jobs: a copy of the suspended CronJob's template for each run.

The agent's Role allows exactly the calls that are made here (stacks/manifests.py). Jobs and pods are found by their
label ``fedsilo/run``.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import httpx2
import msgspec
from lightkube import ApiError, Client
from lightkube.core.exceptions import ConfigError
from lightkube.models.batch_v1 import JobSpec
from lightkube.models.core_v1 import EnvVar
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources import batch_v1
from lightkube.resources.core_v1 import Pod
from lightkube.types import CascadeType

from fedsilo import names, runtime
from fedsilo.agent.kubernetes_state import RUN_LABEL, created, run_of, state_of
from fedsilo.agent.launcher import LOG_BYTES, Job
from fedsilo.config.run import RunIdentity
from fedsilo.errors import LauncherError

LOG_LINES = 2000
"""How many lines of each try's log are asked for."""

WATCH_SECONDS = 300
"""How long a watch lasts before it begins again; the next call of ``jobs`` finds what it misses."""

_CALL_SECONDS = 10.0

log = logging.getLogger(__name__)


class KubernetesLauncher:
    """Jobs in namespace ``fedsilo`` of the cluster that the client is connected to.

    ``changed`` is called, from a thread of its own, when a Job may have changed.
    """

    name = "kubernetes"
    interval_seconds = 5.0

    def __init__(self, client: Client, changed: Callable[[], None]) -> None:
        self._client = client
        self._changed = changed
        # lightkube's watches have no time limit: a connection that died unnoticed would be read for ever.
        client._client._watch_timeout.read = WATCH_SECONDS + _CALL_SECONDS
        runtime.start_thread("watch", self._watch)

    @classmethod
    def in_cluster(cls, changed: Callable[[], None]) -> "KubernetesLauncher":
        """With the credentials of the pod's service account. Raises ``LauncherError`` outside of a cluster."""
        with _translate_errors("use the service account"):
            return cls(Client(namespace=names.NAMESPACE, timeout=httpx2.Timeout(_CALL_SECONDS)), changed)

    def start(self, identity: RunIdentity, deadline_seconds: float) -> None:
        """Make the run's Job from the template, unless it exists."""
        with _translate_errors(f"read CronJob {names.TRAINER}"):
            template = self._client.get(batch_v1.CronJob, names.TRAINER)
        spec = template.spec.jobTemplate.spec if template.spec else None
        if spec is None or spec.template.spec is None:
            raise LauncherError(f"CronJob {names.TRAINER} has no job template; deploy the party's workload stack again")
        job = _job(identity, spec, deadline_seconds)
        try:
            with _translate_errors(f"make Job {_name(identity.run)}"):
                self._client.create(job)
        except LauncherError as error:
            if _status(error) != 409:
                raise

    def jobs(self) -> list[Job]:
        """Every Job of a run, with the reason that its pods give."""
        with _translate_errors("list Jobs and pods"):
            jobs = list(self._client.list(batch_v1.Job, labels={RUN_LABEL: None}))
            pods = list(self._client.list(Pod, labels={RUN_LABEL: None})) if jobs else []
        of_run: dict[str, list[Pod]] = {}
        for pod in sorted(pods, key=created):
            of_run.setdefault(run_of(pod.metadata), []).append(pod)
        return [state_of(job, of_run.get(run_of(job.metadata), [])) for job in sorted(jobs, key=created)]

    def delete(self, run: str) -> None:
        """Delete the Job. It is gone when its pods are."""
        try:
            with _translate_errors(f"delete Job {_name(run)}"):
                self._client.delete(batch_v1.Job, _name(run), cascade=CascadeType.FOREGROUND)
        except LauncherError as error:
            if _status(error) != 404:
                raise

    def end_own(self) -> None:
        """Leave all Jobs alone: they are the cluster's, and its next agent finds them."""

    def log(self, run: str) -> str:
        """What the pods of the run have logged, the oldest first, without pods that have no log, or none any more."""
        with _translate_errors("list pods"):
            pods = sorted(self._client.list(Pod, labels={RUN_LABEL: run}), key=created)
        kept: deque[str] = deque()
        size = 0
        for pod in pods:
            name = str(pod.metadata.name if pod.metadata else "")
            try:
                with _translate_errors(f"read the log of pod {name}"):
                    lines = self._client.log(name, container=names.TRAINER, tail_lines=LOG_LINES)
            except LauncherError as error:
                if _status(error) in (400, 404):
                    continue
                raise
            for line in _with_heading(f"--- pod {name}\n", lines):
                kept.append(line)
                size += len(line)
                while size > LOG_BYTES:
                    size -= len(kept.popleft())
        return "".join(kept)

    def _watch(self) -> None:
        """Report changes for ever. A watch that breaks, or is too old (410), begins again with the present Jobs."""
        while True:
            try:
                for _ in self._client.watch(batch_v1.Job, labels={RUN_LABEL: None}, server_timeout=WATCH_SECONDS):
                    self._changed()
            except Exception as error:
                log.info("the watch of Jobs broke and begins again: %s", error)
            runtime.sleep(1)


def _with_heading(heading: str, lines: Iterable[str]) -> Iterator[str]:
    """The lines below the heading; nothing if there are no lines."""
    for number, line in enumerate(lines):
        if number == 0:
            yield heading
        yield line


def _job(identity: RunIdentity, spec: JobSpec, deadline_seconds: float) -> batch_v1.Job:
    labels = {RUN_LABEL: identity.run, "app.kubernetes.io/name": names.TRAINER, "app.kubernetes.io/part-of": "fedsilo"}
    spec.activeDeadlineSeconds = int(deadline_seconds)
    spec.template.metadata = spec.template.metadata or ObjectMeta()
    spec.template.metadata.labels = {**(spec.template.metadata.labels or {}), **labels}
    for container in spec.template.spec.containers if spec.template.spec else []:
        variables = [EnvVar(name=name, value=value) for name, value in identity.to_environment().items()]
        container.env = [*(container.env or []), *variables]
    metadata = ObjectMeta(name=_name(identity.run), namespace=names.NAMESPACE, labels=labels)
    return batch_v1.Job(metadata=metadata, spec=spec)


def _name(run: str) -> str:
    return f"{names.TRAINER}-{run}"


def _status(error: LauncherError) -> int:
    """The HTTP status behind the error, or 0."""
    cause = error.__cause__
    return int(cause.status.code or 0) if isinstance(cause, ApiError) else 0


@contextmanager
def _translate_errors(doing: str) -> Iterator[None]:
    """Turn the client's errors inside the block into ``LauncherError``."""
    try:
        yield
    except ApiError as error:
        status = error.status
        raise LauncherError(
            f"Kubernetes refused to {doing}: {status.code} {status.reason}: {status.message}"
        ) from error
    except (httpx2.HTTPError, ConfigError, msgspec.MsgspecError, KeyError) as error:
        raise LauncherError(f"Kubernetes could not be asked to {doing}: {type(error).__name__}: {error}") from error
