"""A whole federation on one machine: the local AWS emulator, an agent for every party, and the supervisor of ``up``.

Read ``federation.py`` first.
Agents and trainers run the same code as in a cluster; only the endpoint and the launcher differ.
"""
