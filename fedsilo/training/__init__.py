"""The trainer's process: one party's part in a run. FedML learns, and the parties' messages are mail.

Read ``trainer.py`` first, then ``rounds.py`` for the aggregator and ``client.py`` for a silo. ``comm.py`` joins FedML
to the mail. Only this room, the workloads and ``mlops`` import FedML and torch.
"""
