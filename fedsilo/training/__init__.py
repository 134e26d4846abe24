"""A trainer's process: the rounds of FedML's aggregator and silos, over mail.

Read ``trainer.py`` first for the process, then ``server.py`` (the aggregator) and ``client.py`` (a silo).
Everything here may import FedML and torch, and nothing outside this room needs them at run time.
"""
