"""What a workload is and how it is found, the base classes of its two sides, and metrics for binary classifiers.

Read ``registry.py`` first, then ``declaration.py`` and ``base.py``. No module of fedsilo names a workload.
"""
