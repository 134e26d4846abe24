"""``fedsilo up`` and ``fedsilo down``: a federation on this machine, to play with."""

import os

from fedsilo.cli import options
from fedsilo.cli.options import SpecFile


def up(federation: SpecFile = options.SPEC_FILE) -> None:
    """Start the federation on this machine, with a local AWS emulator; it runs until fedsilo down.

    The other commands then use it in place of AWS. Its files are in the folder .fedsilo beside the federation's file.
    """
    from fedsilo import terminal
    from fedsilo.local import supervisor

    options.self_hosted(federation)
    out = terminal.console()
    if os.environ.get("AWS_ENDPOINT_URL"):
        out.print(
            "AWS_ENDPOINT_URL is set: the other commands use that endpoint, not this local federation", style="yellow"
        )
    out.print("starting the local AWS emulator and an agent for every party", style="dim")
    state = supervisor.bring_up(federation)
    out.print(
        f"{state.federation} is up: {', '.join(state.parties)}; local AWS emulator at {state.endpoint}", soft_wrap=True
    )
    out.print("next: fedsilo run start WORKLOAD --watch; fedsilo down ends the federation")


def down(federation: SpecFile = options.SPEC_FILE) -> None:
    """End the federation that fedsilo up started, and delete its runs and models."""
    from fedsilo import terminal
    from fedsilo.local import supervisor

    ended = supervisor.take_down(federation)
    terminal.console().print("ended; nothing is left running" if ended else "nothing is up")
