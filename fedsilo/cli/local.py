"""``fedsilo up`` and ``fedsilo down``: a federation on this machine, to play with."""

import os

from fedsilo.cli import options
from fedsilo.cli.options import SpecFile


def up(federation: SpecFile = options.SPEC_FILE) -> None:
    """Bring up the federation on this machine, against an embedded AWS, until fedsilo down.

    The other commands then use it. It is kept in the folder .fedsilo beside the federation's file.
    """
    from fedsilo import terminal
    from fedsilo.local import daemon as embedded

    options.self_hosted(federation)
    out = terminal.console()
    if os.environ.get("AWS_ENDPOINT_URL"):
        out.print("AWS_ENDPOINT_URL is set: the other commands use that, and not what comes up here", style="yellow")
    out.print("bringing up the embedded AWS and an agent for every party", style="dim")
    found = embedded.bring_up(federation)
    out.print(f"{found.federation} is up: {', '.join(found.parties)}; embedded AWS at {found.endpoint}", soft_wrap=True)
    out.print("next: fedsilo run start WORKLOAD --watch, and fedsilo down to end it")


def down(federation: SpecFile = options.SPEC_FILE) -> None:
    """End what fedsilo up has brought up; its runs and models are gone then."""
    from fedsilo import terminal
    from fedsilo.local import daemon as embedded

    ended = embedded.take_down(federation)
    terminal.console().print("ended; nothing is left running" if ended else "nothing is up")
