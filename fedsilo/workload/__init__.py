"""What a workload is: its functions, the base classes of its two sides, its metrics, and how one is found.

Read ``registry.py`` first, then ``base.py``.
No module of fedsilo names a workload.
"""
