"""``fedsilo up`` and ``fedsilo down``: the local federation."""

import os

from fedsilo import terminal
from fedsilo.cli import group, options
from fedsilo.cli.options import SpecFile
from fedsilo.local import supervisor

app = group.new_app()


@app.command(epilog=group.EXIT_CODES)
def up(federation: SpecFile = options.SPEC_FILE) -> None:
    """Start the federation on this machine, until fedsilo down.

    A local AWS emulator stands in for AWS, and the other commands then use it. All files are in the folder .fedsilo
    beside the federation's file.
    """
    options.load_self_hosted(federation)
    out = terminal.console()
    if os.environ.get("AWS_ENDPOINT_URL"):
        out.print("AWS_ENDPOINT_URL is set: the other commands use that, not this local federation", style="yellow")
    out.print("starting the local AWS emulator and an agent for every party", style="dim")
    state = supervisor.bring_up(federation)
    out.print(
        f"{state.federation} is up: {', '.join(state.parties)}; local AWS emulator at {state.endpoint}", soft_wrap=True
    )
    out.print("next: fedsilo run start WORKLOAD --watch; fedsilo down ends the federation")


@app.command(epilog=group.EXIT_CODES)
def down(federation: SpecFile = options.SPEC_FILE) -> None:
    """End the federation of fedsilo up; its runs are deleted.

    Its models are deleted too; files that were downloaded stay.
    """
    ended = supervisor.take_down(federation)
    terminal.console().print("ended; nothing is left running" if ended else "nothing is up")
