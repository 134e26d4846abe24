"""The CDK app's stacks: what exists in AWS. Nothing here runs in a party's cluster, and nothing here learns.

A stack per lifecycle: ``hub``, and for each party ``network``, ``data``, ``cluster`` and ``workload``.
Read ``../app.py`` first, which composes them, then ``workload.py``.
"""
