"""FedML 0.9.6 as it is, over its own gRPC backend, with the same workloads: what fedsilo is measured against.

It runs in an environment of its own, .venvs/mlops, which ``make bench`` makes, because FedML's pins exclude much of
what fedsilo uses.
"""
