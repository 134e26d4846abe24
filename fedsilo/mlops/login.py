"""FedML's login, which is its agent, in this process: its own script, which takes the API key from ``sys.argv``.

    python -m fedsilo.mlops.login client|server DEVICE

with the key as the first line of the input. ``sys.argv`` is this process's own memory; what others see of a process is
how it was started. FedML forks its runners, which keep that, and starts trainers, which get no key at all.
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
"""FedML's script and what it calls the role, as in the Dockerfiles of its own agents."""


def main() -> None:
    """Log in, and be the party's agent until FedML ends it; then this process ends with exit code 1."""
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
        # A login that failed leaves helper processes, for which Python would wait for ever instead of ending.
        os._exit(1)


if __name__ == "__main__":
    main()
