"""The report: one self-contained HTML page that shows one run.

``view.py`` decides what the page says, ``report.html.j2`` how it says it, and ``report.css`` how it looks. What
parties wrote is not trusted: the template escapes all of it. The page loads nothing and runs no script.
"""

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedsilo import __version__
from fedsilo.ledger.record import Record
from fedsilo.report import view
from fedsilo.report.history import RunHistory

TEMPLATES = Environment(
    loader=PackageLoader("fedsilo.report", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(record: Record) -> str:
    """The page about the run. Renders whatever its parties wrote, or left out."""
    history = RunHistory(record)
    return TEMPLATES.get_template("report.html.j2").render(
        run=record.run,
        header=view.header(history),
        learning=view.learning(history),
        silos=view.silos(history),
        timeline=view.activity(history),
        events=view.events(history),
        parameters=view.parameters(history),
        experiments=view.experiments(history),
        version=__version__,
    )
