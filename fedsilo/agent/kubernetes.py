"""Trainers as Kubernetes Jobs: the suspended CronJob's template, copied once per run.

The calls it makes, and no others, are what the agent's Role allows (stacks/manifests.py). Jobs and pods are found by
the label ``fedsilo/run``.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx2
import msgspec
from lightkube import ApiError, Client
from lightkube.core.exceptions import ConfigError
from lightkube.models.batch_v1 import JobSpec
from lightkube.models.core_v1 import ContainerStatus, EnvVar
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources import batch_v1
from lightkube.resources.core_v1 import Pod
from lightkube.types import CascadeType

from fedsilo import names
from fedsilo.agent.launcher import LOG_BYTES, Job, ending
from fedsilo.errors import LauncherError
from fedsilo.states import JobState

RUN_LABEL = "fedsilo/run"

LOG_LINES = 2000
"""How many lines of each try's log are asked for."""

PULL_SECONDS = 600.0
"""How long a pod may fail to get its image before its Job is given up: Kubernetes itself tries until the deadline."""

WATCH_SECONDS = 300
"""How long a watch lasts before it is begun again; what it misses, the next look finds."""

_CALL_SECONDS = 10.0
_NO_IMAGE = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}

log = logging.getLogger(__name__)


class KubernetesLauncher:
    """Jobs in namespace ``fedsilo`` of the cluster that the client is connected to.

    ``changed`` is called, from a thread of its own, when a Job may have changed; ``jobs`` then says how it is.
    """

    name = "kubernetes"
    interval_seconds = 5.0

    def __init__(self, client: Client, changed: Callable[[], None]) -> None:
        self._client = client
        self._changed = changed
        # lightkube's watches have no time limit of their own: a connection that died unseen would be read for ever.
        client._client._watch_timeout.read = WATCH_SECONDS + _CALL_SECONDS
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    @classmethod
    def in_cluster(cls, changed: Callable[[], None]) -> "KubernetesLauncher":
        """With the credentials of the pod's service account. Raises ``LauncherError`` outside of a cluster."""
        with _explained("use the service account"):
            return cls(Client(namespace=names.NAMESPACE, timeout=httpx2.Timeout(_CALL_SECONDS)), changed)

    def start(self, run: str, deadline_seconds: float) -> None:
        """Copy the template into the run's Job."""
        with _explained(f"read CronJob {names.TRAINER}"):
            template = self._client.get(batch_v1.CronJob, names.TRAINER)
        spec = template.spec.jobTemplate.spec if template.spec else None
        if spec is None or spec.template.spec is None:
            raise LauncherError(f"CronJob {names.TRAINER} has no job template; deploy the party's workload stack again")
        job = _job(run, spec, deadline_seconds)
        try:
            with _explained(f"make Job {_name(run)}"):
                self._client.create(job)
        except LauncherError as error:
            if _status(error) != 409:
                raise

    def jobs(self) -> list[Job]:
        """Every Job of a run, with the reason that its newest pod gives."""
        with _explained("list Jobs and pods"):
            jobs = list(self._client.list(batch_v1.Job, labels={RUN_LABEL: None}))
            pods = list(self._client.list(Pod, labels={RUN_LABEL: None})) if jobs else []
        of_run: dict[str, list[Pod]] = {}
        for pod in sorted(pods, key=_created):
            of_run.setdefault(_run(pod.metadata), []).append(pod)
        return [_state(job, of_run.get(_run(job.metadata), [])) for job in sorted(jobs, key=_created)]

    def delete(self, run: str) -> None:
        """Delete the Job; it is gone once its pods are."""
        try:
            with _explained(f"delete Job {_name(run)}"):
                self._client.delete(batch_v1.Job, _name(run), cascade=CascadeType.FOREGROUND)
        except LauncherError as error:
            if _status(error) != 404:
                raise

    def log(self, run: str) -> str:
        """What the pods of the run have logged, the oldest first; one that has no log (any more) is left out."""
        with _explained("list pods"):
            pods = sorted(self._client.list(Pod, labels={RUN_LABEL: run}), key=_created)
        kept: deque[str] = deque()
        size = 0
        for pod in pods:
            name = str(pod.metadata.name if pod.metadata else "")
            try:
                with _explained(f"read the log of pod {name}"):
                    lines = self._client.log(name, container=names.TRAINER, tail_lines=LOG_LINES)
            except LauncherError as error:
                if _status(error) in (400, 404):
                    continue
                raise
            for line in (f"--- pod {name}\n", *lines):
                kept.append(line)
                size += len(line)
                while size > LOG_BYTES:
                    size -= len(kept.popleft())
        return "".join(kept)

    def _watch(self) -> None:
        """Tell of changes for ever. A watch that is too old (410), or that breaks, begins again with what there is."""
        while True:
            try:
                for _ in self._client.watch(batch_v1.Job, labels={RUN_LABEL: None}, server_timeout=WATCH_SECONDS):
                    self._changed()
            except Exception as error:
                log.info("the watch of Jobs begins again: %s", error)
            time.sleep(1)


def _job(run: str, spec: JobSpec, deadline_seconds: float) -> batch_v1.Job:
    labels = {RUN_LABEL: run, "app.kubernetes.io/name": names.TRAINER, "app.kubernetes.io/part-of": "fedsilo"}
    spec.activeDeadlineSeconds = int(deadline_seconds)
    spec.template.metadata = spec.template.metadata or ObjectMeta()
    spec.template.metadata.labels = {**(spec.template.metadata.labels or {}), **labels}
    for container in spec.template.spec.containers if spec.template.spec else []:
        container.env = [*(container.env or []), EnvVar(name="FEDSILO_RUN", value=run)]
    metadata = ObjectMeta(name=_name(run), namespace=names.NAMESPACE, labels=labels)
    return batch_v1.Job(metadata=metadata, spec=spec)


def _name(run: str) -> str:
    return f"{names.TRAINER}-{run}"


def _run(metadata: ObjectMeta | None) -> str:
    return str((metadata.labels or {}).get(RUN_LABEL, "")) if metadata else ""


def _created(thing: batch_v1.Job | Pod) -> datetime:
    created = thing.metadata.creationTimestamp if thing.metadata else None
    return created or datetime.fromtimestamp(0, UTC)


def _state(job: batch_v1.Job, pods: list[Pod]) -> Job:
    """How the Job is, from its conditions and its pods, oldest first."""
    run = _run(job.metadata)
    if job.metadata and job.metadata.deletionTimestamp:
        return Job(run, JobState.ENDING, "its Job is being deleted")
    for condition in (job.status.conditions if job.status else None) or []:
        if condition.status == "True" and condition.type == "Complete":
            return Job(run, JobState.DONE)
        if condition.status == "True" and condition.type == "Failed":
            return Job(run, JobState.FAILED, _why_failed(job, condition.reason or "", condition.message or "", pods))
    if not pods:
        return Job(run, JobState.PENDING, "its Job has no pod yet; the namespace's quota may be used up")
    newest, phase = pods[-1], (pods[-1].status.phase if pods[-1].status else None)
    if phase == "Failed":
        return Job(run, JobState.PENDING, f"{_how_ended(newest, len(pods))}; it is started again")
    if phase != "Pending":
        return Job(run, JobState.RUNNING)
    again = f"; before, {_how_ended(pods[-2], len(pods) - 1)}" if pods[1:] else ""
    return _why_pending(run, newest, again)


def _why_pending(run: str, pod: Pod, again: str) -> Job:
    for condition in (pod.status.conditions if pod.status else None) or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return Job(
                run, JobState.PENDING, f"no node for the trainer ({condition.reason}): {condition.message}{again}"
            )
    for container in _containers(pod):
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason in _NO_IMAGE:
            reason = f"the trainer's image can't be had ({waiting.reason}): {waiting.message}{again}"
            waited = (datetime.now(UTC) - _created(pod)).total_seconds()
            return Job(run, JobState.STUCK if waited > PULL_SECONDS else JobState.PENDING, reason)
        if waiting and waiting.reason not in (None, "ContainerCreating", "PodInitializing"):
            return Job(run, JobState.PENDING, f"the trainer can't start ({waiting.reason}): {waiting.message}{again}")
    return Job(run, JobState.PENDING, f"the trainer's pod is starting{again}")


def _why_failed(job: batch_v1.Job, reason: str, message: str, pods: list[Pod]) -> str:
    if reason == "DeadlineExceeded":
        seconds = (job.spec.activeDeadlineSeconds if job.spec else None) or 0
        return f"the trainer ran over its deadline of {seconds / 3600:g} h"
    if pods:
        return _how_ended(pods[-1], len(pods))
    return f"its Job failed ({reason}): {message}"


def _how_ended(pod: Pod, tries: int) -> str:
    """In words: how the pod's trainer ended; what ended the pod as a whole comes first."""
    status = pod.status
    at = f" at try {tries}" if tries > 1 else ""
    if status and status.reason == "Evicted":
        return f"the trainer was evicted{at}: {status.message}"
    for condition in (status.conditions if status else None) or []:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return f"the trainer was evicted{at} ({condition.reason}): {condition.message}"
    for container in _containers(pod):
        ended = container.state.terminated if container.state else None
        if ended and ended.reason == "OOMKilled":
            return f"the trainer ran out of memory (OOMKilled){at}; the party's compute.memory_gib is too small"
        if ended:
            return ending(ended.exitCode, tries)
    return f"the trainer's pod failed{at} ({(status.reason if status else None) or 'no reason given'})"


def _containers(pod: Pod) -> list[ContainerStatus]:
    return (pod.status.containerStatuses if pod.status else None) or []


def _status(error: LauncherError) -> int:
    """The HTTP status behind the error, or 0."""
    cause = error.__cause__
    return int(cause.status.code or 0) if isinstance(cause, ApiError) else 0


@contextmanager
def _explained(doing: str) -> Iterator[None]:
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
