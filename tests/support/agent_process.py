"""``fedsilo agent`` as the tests start it.

Its local trainers come from the zygote that TRAINER_COMMAND leads to, and are soon started again.
"""

import json
import os
import sys

from fedsilo.agent import local, main

if __name__ == "__main__":
    local.BACKOFF_SECONDS = 0.3
    local.LocalLauncher.command = tuple(json.loads(os.environ["TRAINER_COMMAND"]))
    sys.exit(main.main())
