"""The entry point of the packages for FedML's platform. It lies at the top of each package.

FedML starts it as ``python mlops_entry.py --cf CONFIGURATION --rank R --role client|server``.
"""

import sys

import fedml  # noqa: F401  (with its cloud client, before fedsilo.workload.base, which would import it without)

# isort: split

from fedsilo.mlops import trainer

if __name__ == "__main__":
    sys.exit(trainer.main())
