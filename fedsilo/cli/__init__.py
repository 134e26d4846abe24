"""The ``fedsilo`` command: it parses arguments, calls the other rooms, and prints.

Read ``main.py`` first, then the module named as the command.
It holds no logic of its own that another program might want.
"""
