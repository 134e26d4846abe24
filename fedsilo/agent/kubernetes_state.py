"""What a Kubernetes Job and its pods say about a trainer: its state, and the reason in words."""

from datetime import UTC, datetime

from lightkube.models.batch_v1 import JobCondition
from lightkube.models.core_v1 import ContainerState, ContainerStateWaiting, PodCondition, PodStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job as KubernetesJob
from lightkube.resources.core_v1 import Pod

from fedsilo import runtime
from fedsilo.agent.launcher import Job, how_it_ended, on_try, over_deadline
from fedsilo.states import JobState

RUN_LABEL = "fedsilo/run"
"""The label of Jobs and pods that holds the id of their run."""

PULL_SECONDS = 600.0
"""How long a pod may fail to pull its image before its Job is given up. Kubernetes itself tries until the deadline."""

_PULL_FAILURES = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_STARTING = {None, "ContainerCreating", "PodInitializing"}


def run_of(metadata: ObjectMeta | None) -> str:
    """The id of the run that a Job or a pod belongs to; empty if its label is missing."""
    return str((metadata.labels or {}).get(RUN_LABEL, "")) if metadata else ""


def created(thing: KubernetesJob | Pod) -> datetime:
    """When a Job or a pod was created; the epoch if it does not say so."""
    return (thing.metadata and thing.metadata.creationTimestamp) or datetime.fromtimestamp(0, UTC)


def state_of(job: KubernetesJob, pods: list[Pod]) -> Job:
    """The state of a trainer.

    Args:
        job: The Job of the trainer's run.
        pods: The pods of the Job, the oldest first: a pod for each try.
    """
    run = run_of(job.metadata)
    if job.metadata and job.metadata.deletionTimestamp:
        return Job(run, JobState.ENDING, "the trainer's Job is being deleted")
    verdicts = {each.type: each for each in (job.status and job.status.conditions) or [] if each.status == "True"}
    if "Complete" in verdicts:
        return Job(run, JobState.DONE)
    if failed := verdicts.get("Failed"):
        return Job(run, JobState.FAILED, _why_failed(job, failed, pods), len(pods))
    return _state_of_pods(run, pods)


def _why_failed(job: KubernetesJob, verdict: JobCondition, pods: list[Pod]) -> str:
    if verdict.reason == "DeadlineExceeded":
        return over_deadline(float((job.spec and job.spec.activeDeadlineSeconds) or 0))
    return _how_ended(pods) if pods else f"the trainer's Job failed ({verdict.reason}): {verdict.message}"


def _state_of_pods(run: str, pods: list[Pod]) -> Job:
    """The state of a trainer whose Job has not ended: that of its newest pod."""
    if not pods:
        return Job(run, JobState.PENDING, "the trainer's Job has no pod yet; the namespace's quota may be used up")
    match pods[-1].status and pods[-1].status.phase:
        case "Failed":
            return Job(run, JobState.PENDING, f"{_how_ended(pods)}; it will be started again", len(pods))
        case "Pending":
            state, reason = _why_pending(pods[-1])
            earlier = f"; earlier, {_how_ended(pods[:-1])}" if pods[1:] else ""
            return Job(run, state, reason + earlier, len(pods) - 1)
        case _:
            return Job(run, JobState.RUNNING)


def _why_pending(pod: Pod) -> tuple[JobState, str]:
    unscheduled = _condition(pod, "PodScheduled", "False")
    if unscheduled:
        return JobState.PENDING, f"no node for the trainer ({unscheduled.reason}): {unscheduled.message}"
    for state in _container_states(pod):
        if state.waiting and state.waiting.reason not in _STARTING:
            return _why_waiting(pod, state.waiting)
    return JobState.PENDING, "the trainer's pod is starting"


def _why_waiting(pod: Pod, waiting: ContainerStateWaiting) -> tuple[JobState, str]:
    if waiting.reason not in _PULL_FAILURES:
        return JobState.PENDING, f"the trainer can't start ({waiting.reason}): {waiting.message}"
    waited = (runtime.now() - created(pod)).total_seconds()
    state = JobState.STUCK if waited > PULL_SECONDS else JobState.PENDING
    return state, f"the trainer's image can't be pulled ({waiting.reason}): {waiting.message}"


def _how_ended(pods: list[Pod]) -> str:
    """How the newest of the pods ended, in words. What ended the pod as a whole comes first."""
    pod, on = pods[-1], on_try(len(pods))
    status = pod.status or PodStatus()
    if status.reason == "Evicted":
        return f"the trainer was evicted{on}: {status.message}"
    if disruption := _condition(pod, "DisruptionTarget", "True"):
        return f"the trainer was evicted{on} ({disruption.reason}): {disruption.message}"
    for state in _container_states(pod):
        if state.terminated and state.terminated.reason == "OOMKilled":
            return f"the trainer ran out of memory (OOMKilled){on}; the party's compute.memory_gib is too small"
        if state.terminated:
            return how_it_ended(state.terminated.exitCode, len(pods))
    return f"the trainer's pod failed{on} ({status.reason or 'no reason given'})"


def _condition(pod: Pod, kind: str, status: str) -> PodCondition | None:
    """The pod's condition of that type, if it has that status."""
    conditions = (pod.status and pod.status.conditions) or []
    return next((each for each in conditions if (each.type, each.status) == (kind, status)), None)


def _container_states(pod: Pod) -> list[ContainerState]:
    containers = (pod.status and pod.status.containerStatuses) or []
    return [container.state for container in containers if container.state]
