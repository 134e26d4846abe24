"""The entry point of a package for FedML's platform; in the package it is ``mlops_entry.py`` at the top.

FedML starts it as ``python mlops_entry.py --cf CONFIGURATION --rank R --role client|server``.
"""

import sys

import fedml  # noqa: F401  (before fedsilo.workload.base, which would import it without its cloud client)

# isort: split

from fedsilo.mlops import trainer

if __name__ == "__main__":
    sys.exit(trainer.main())
