"""Runs on FedML's hosted platform: the packages that it starts, and FedML's own agent in a party's cluster.

Read ``trainer.py`` first; docs/mlops.md says what this mode gives up.
Only here is FedML imported with its cloud client.
"""
