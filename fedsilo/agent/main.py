"""The agent's process: it reads its environment, picks the launcher, and serves until SIGTERM."""

import logging
import signal
from collections.abc import Callable

from fedsilo import aws, logs, signals
from fedsilo.agent.hub import AgentHub
from fedsilo.agent.launcher import Launcher
from fedsilo.agent.service import Agent
from fedsilo.agent.settings import AgentSettings
from fedsilo.config import policy
from fedsilo.errors import StoppedError

log = logging.getLogger(__name__)


def main() -> int:
    """Serve until SIGTERM.

    Returns:
        The exit code.

    Raises:
        SpecError: The environment or the party's policy is not valid.
        AuthenticationError: There are no credentials.
        LauncherError: Trainers can't be started from this process, as outside of a cluster.
    """
    logs.set_up(as_json=True)
    settings = AgentSettings.from_environment()
    policy.load(settings.policy_file)
    settings.folder.mkdir(parents=True, exist_ok=True)
    try:
        # Nothing needs finishing: an agent may be killed at any moment.
        stopped = StoppedError("stopped; its trainers continue, and the next agent finds them")
        signals.raise_once(stopped, signal.SIGTERM)
        log.info("the agent of %s in %s is up", settings.party, settings.federation)
        hub = aws.when_authenticated(settings.authentication_seconds, lambda: AgentHub(settings))
        Agent(settings, hub, _launcher(settings)).serve()
    except StoppedError as error:
        log.info("%s", error)
    return 0


def _launcher(settings: AgentSettings) -> Callable[[Callable[[], None]], Launcher]:
    if settings.launcher == "local":
        from fedsilo.agent.local import LocalLauncher

        return lambda changed: LocalLauncher(settings.folder / "runs")
    from fedsilo.agent.kubernetes import KubernetesLauncher

    return KubernetesLauncher.in_cluster
