"""FedML's login, which is also its agent, in this process.

    python -m fedsilo.mlops.login client|server DEVICE

The first line of the input is the API key. FedML's script takes the key from ``sys.argv``, which this module sets:
``sys.argv`` is memory of this process only, while other processes see the command line that the process was started
with. FedML forks its runners, whose command line stays the same, and starts trainers without the key.
"""

import importlib.util
import os
import runpy
import sys
import traceback
from pathlib import Path

SCRIPTS = {
    "client": ("slave/client_login.py", "client"),
    "server": ("master/server_login.py", "edge_server"),
}
"""FedML's script and its name for the role, as in the Dockerfiles of FedML's own agents."""


def main() -> None:
    """Log in and be the party's agent until FedML ends it. The process then ends with exit code 1."""
    kind, device = sys.argv[1:]
    key = sys.stdin.readline().strip()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    script, role = SCRIPTS[kind]
    installed = importlib.util.find_spec("fedml")
    if installed is None or installed.origin is None:
        sys.exit("FedML is not installed here; build the image with requirements/mlops.txt (docs/mlops.md)")
    path = str(Path(installed.origin).parent / "computing" / "scheduler" / script)
    who = ["-t", "login", "-r", role, "-id", device, "-os", "Linux", "-v", "release"]
    sys.argv = [path, *who, "-u", key, "-k", key]
    try:
        runpy.run_path(path, run_name="__main__")
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        # A failed login leaves helper processes, and Python would wait for them for ever.
        os._exit(1)


if __name__ == "__main__":
    main()
