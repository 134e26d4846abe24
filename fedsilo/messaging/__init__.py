"""How parties speak: mail between trainers, and requests from the operator to agents.

Read ``mailbox.py`` first; ``codec.py`` is the format of a mail, ``control.py`` the one of a request.
Nothing that is received is ever unpickled or executed.
"""
