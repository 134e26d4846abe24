"""``python -m fedsilo`` is the ``fedsilo`` command."""

from fedsilo.cli.main import main

main()
