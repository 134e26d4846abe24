"""What an operator does: start, abort and watch runs, check the federation, and price it.

Read ``client.py`` first: it is how a command reaches the hub.
It reads what parties wrote only through ``fedsilo.ledger``, and needs no access to any cluster.
"""
