"""The workloads that come with fedsilo, a package each. In the wheel this package is ``fedsilo_workloads``."""
