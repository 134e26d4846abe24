"""``fedsilo agent`` as the tests start it.

Its local trainers come from the zygote that TRAINER_COMMAND leads to, and are soon started again.
"""

import json
import os
import sys

from fedsilo import agent, local_launcher

if __name__ == "__main__":
    local_launcher.BACKOFF_SECONDS = 0.3
    local_launcher.LocalLauncher.command = tuple(json.loads(os.environ["TRAINER_COMMAND"]))
    sys.exit(agent.main())
