"""``python -m fedsilo`` is the ``fedsilo`` command."""

from fedsilo.cli import main

main()
