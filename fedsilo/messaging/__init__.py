"""How parties talk: mail between trainers, and requests from the operator to agents.

Read ``mailbox.py`` first. It uses ``codec.py`` (a mail's file), ``store.py`` (S3) and ``notice.py`` (SQS); the mails of
a run are listed in ``messages.py``, and ``control.py`` is about requests. Nothing that is received is unpickled or run.
"""
