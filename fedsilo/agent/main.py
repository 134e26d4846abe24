"""The agent's process: it reads its environment, picks the launcher, and serves until SIGTERM."""

import logging
import signal
from collections.abc import Callable

from fedsilo import aws, logs, signals
from fedsilo.agent.hub import AgentHub
from fedsilo.agent.instance import claim
from fedsilo.agent.launcher import Launcher
from fedsilo.agent.retries import attempt
from fedsilo.agent.service import Agent
from fedsilo.agent.settings import AgentSettings
from fedsilo.config import policy
from fedsilo.errors import LeaseLostError, StoppedError

log = logging.getLogger(__name__)


def main() -> int:
    """Serve until SIGTERM, or until another agent of the party has taken over.

    Returns:
        The exit code: 0 after SIGTERM, and 1 otherwise.

    Raises:
        SpecError: The environment or the party's policy is not valid.
        AuthenticationError: There are no credentials.
        LauncherError: Trainers can't be started from this process, as outside of a cluster; or another agent uses the
            folder.
    """
    logs.set_up(as_json=True)
    settings = AgentSettings.from_environment()
    policy.load(settings.policy_file)
    settings.folder.mkdir(parents=True, exist_ok=True)
    instance = claim(settings.folder)
    agent: Agent | None = None
    try:
        # Nothing needs finishing: an agent may be killed at any moment.
        stopped = StoppedError("stopped; its trainers continue, and the next agent finds them")
        signals.raise_once(stopped, signal.SIGTERM)
        log.info("the agent of %s in %s is up", settings.party, settings.federation)
        hub = aws.when_authenticated(settings.authentication_seconds, lambda: AgentHub(settings))
        agent = Agent(settings, hub, instance, _launcher(settings))
        agent.serve()
    except StoppedError as error:
        log.info("%s", error)
        if agent:
            attempt(agent.lease.release)
        return 0
    except LeaseLostError as error:
        log.error("%s", error)
    return 1


def _launcher(settings: AgentSettings) -> Callable[[Callable[[], None]], Launcher]:
    if settings.launcher == "local":
        from fedsilo.agent.local import LocalLauncher

        return lambda changed: LocalLauncher(settings.folder / "runs")
    from fedsilo.agent.kubernetes import KubernetesLauncher

    return KubernetesLauncher.in_cluster
