"""The entry point of the packages for FedML's platform, at the top of each: FedML starts it as

``python mlops_entry.py --cf CONFIGURATION --rank R --role client|server``.
"""

import sys

import fedml  # noqa: F401  (with its cloud client, before fedsilo.learning, which would import it without)

# isort: split

from fedsilo import mlops

if __name__ == "__main__":
    sys.exit(mlops.main())
