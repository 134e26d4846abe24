"""``fedsilo agent`` as the tests start it: its local trainers come from the zygote that TRAINER_COMMAND leads to."""

import json
import os
import sys

from fedsilo import agent
from fedsilo.local_launcher import LocalLauncher

if __name__ == "__main__":
    LocalLauncher.command = tuple(json.loads(os.environ["TRAINER_COMMAND"]))
    sys.exit(agent.main())
