"""The command's groups: they import a command when it is invoked, and turn errors into messages and exit codes.

This module imports nothing heavy, so that ``fedsilo --help`` and ``fedsilo --version`` are instant.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from fedsilo.errors import FedsiloError, RunError, UsageError
from fedsilo.files import disk_error
from fedsilo.states import CommandExit
from fedsilo.text import plain

EXIT_CODES = (
    f"\n\nExit codes: {CommandExit.DONE:d} done, {CommandExit.ERROR:d} error, {CommandExit.USAGE:d} wrong arguments, "
    f"{CommandExit.RUN_FAILED:d} the run failed, was refused or was aborted, {CommandExit.INTERRUPTED:d} interrupted."
)
"""The last paragraph of a command's help."""

MESSAGE_LIMIT = 4000
"""Characters of a line of an error message that are shown."""


def new_app(summary: str = "") -> typer.Typer:
    """A Typer application for the commands of one module.

    Args:
        summary: The help of a noun whose commands these are; empty for commands without a noun.
    """
    return typer.Typer(help=summary, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Lazy:
    """A command that is imported when it is invoked.

    The module ``fedsilo.cli.<module>`` has a Typer application named ``app``. The command is the one of that name in
    it, or the whole application where it has none.
    """

    module: str
    summary: str
    """The first line of the command's help, which the help of ``fedsilo`` shows."""
    hidden: bool = False


class LazyGroup(TyperGroup):
    """A group of lazy commands. Whatever fedsilo raises in them ends with a line on standard error and an exit code."""

    lazy: ClassVar[dict[str, Lazy]] = {}
    """The commands by name; a subclass sets them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, lazy in self.lazy.items():
            self.add_command(TyperCommand(name, help=lazy.summary, hidden=lazy.hidden))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in self.lazy:
            group = typer.main.get_group(import_module(f"fedsilo.cli.{self.lazy[name].module}").app)
            command = group.commands.get(name, group)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except FedsiloError as error:
            code = {RunError: CommandExit.RUN_FAILED, UsageError: CommandExit.USAGE}.get(type(error), CommandExit.ERROR)
            _print_message(f"error: {error}", "red")
            raise typer.Exit(code) from error
        except BrokenPipeError:
            raise  # the program that read the output has ended; Click ends the command quietly
        except OSError as error:
            said = f"{error.filename or 'input or output'}: {error.strerror or error}"
            _print_message(f"error: {disk_error(error) or said}", "red")
            raise typer.Exit(CommandExit.ERROR) from error
        except KeyboardInterrupt:
            _print_message("interrupted", "yellow")
            raise typer.Exit(CommandExit.INTERRUPTED) from None


def _print_message(text: str, style: str) -> None:
    from fedsilo import terminal  # rich: only errors need it here

    shown = "\n".join(plain(line, MESSAGE_LIMIT) for line in text.splitlines())
    terminal.console(stderr=True).print(shown, style=style, soft_wrap=True)
