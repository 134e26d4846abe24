"""``fedsilo agent`` as the tests start it.

Its local launcher runs TRAINER_COMMAND in place of a trainer, and soon starts it again if it fails.
"""

import json
import os
import sys

from fedsilo.agent import lease, local, main

if __name__ == "__main__":
    local.BACKOFF_SECONDS = 0.3
    lease.POLL_SECONDS = 0.2
    local.LocalLauncher.command = tuple(json.loads(os.environ["TRAINER_COMMAND"]))
    sys.exit(main.main())
