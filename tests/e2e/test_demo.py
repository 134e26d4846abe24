"""``fedsilo demo`` as a user runs it: its results, what its parties connect to, and how it ends early."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.support.waiting import WAIT_SECONDS, until

ROOT = Path(__file__).parents[2]
SILOS = ["cleveland", "hungary"]
PARTIES = ("aggregator", *SILOS, "switzerland", "long-beach")
"""Every party has an agent; the first three take part in the run."""
pytestmark = pytest.mark.e2e

MARK = "TEST_OF_FEDSILO"

WATCH = '''
"""Records, for every Python process, what it looks up and connects to."""
import os, sys

def _watch(event, arguments, folder=os.environ["WATCHED_TO"], names=()):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        target = repr(tuple(arguments[:2]))
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        target = repr(arguments[1])
    else:
        return
    party, endpoint = os.environ.get("FEDSILO_PARTY", ""), os.environ.get("AWS_ENDPOINT_URL", "")
    with open(os.path.join(folder, str(os.getpid())), "a") as file:
        file.write("\\t".join((party, event, target, endpoint)) + "\\n")

sys.addaudithook(_watch)
'''


class Demo:
    """A running demo; ``mark`` is in the environment of every process that it starts."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.mark = uuid.uuid4().hex
        self.out, self.scratch, self.output = folder / "out", folder / "scratch", folder / "output.txt"
        self.scratch.mkdir(parents=True)
        environment = os.environ | {MARK: self.mark, "TMPDIR": str(self.scratch)} | variables
        with self.output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fedsilo", "demo", "--out", str(self.out), *options],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def processes(self) -> dict[int, str]:
        """The demo's running processes by pid: as "agent PARTY" or "trainer PARTY", or empty for others."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    variables = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                except OSError:
                    continue
                if f"{MARK}={self.mark}" in variables:
                    known = dict(each.partition("=")[::2] for each in variables)
                    role = "" if "FEDSILO_PARTY" not in known else "trainer" if "FEDSILO_RUN" in known else "agent"
                    found[int(folder.name)] = f"{role} {known.get('FEDSILO_PARTY', '')}".strip()
        return found

    def python(self, who: str) -> int:
        """The pid of the Python process of ``who``, not that of the shell around it."""
        [pid] = [
            pid
            for pid, name in self.processes().items()
            if name == who and not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/bin/sh")
        ]
        return pid

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for the condition. Fails if the demo ends before."""

        def holds() -> object:
            found = condition()
            assert found or self._process.poll() is None, f"the demo ended before {what}\n{self.text}"
            return found

        until(holds, lambda: f"{what}\n{self.text}")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(3 * WAIT_SECONDS)

    def close(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def run(*options: str) -> Demo:
        started.append(Demo(tmp_path / str(len(started)), *options))
        return started[-1]

    yield run
    for demo in started:
        demo.close()


@dataclass(frozen=True)
class Finished:
    demo: Demo
    exit_code: int
    left: dict[int, str]
    watched: Path

    def events(self) -> dict[str, set[tuple[str, str, str]]]:
        """What each party looked up and connected to, and its endpoint; '' is the demo itself and its emulator."""
        found: dict[str, set[tuple[str, str, str]]] = {}
        for log in self.watched.iterdir():
            for line in log.read_text().splitlines():
                party, event, target, endpoint = line.split("\t")
                found.setdefault(party, set()).add((event, target, endpoint))
        return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A whole demo, whose processes are all watched."""
    folder = tmp_path_factory.mktemp("demo")
    hook, watched = folder / "hook", folder / "watched"
    hook.mkdir()
    watched.mkdir()
    (hook / "sitecustomize.py").write_text(WATCH)
    path = os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH"))))
    demo = Demo(folder, "--silos", "2", "--rounds", "3", "--set", "lr=0.01", PYTHONPATH=path, WATCHED_TO=str(watched))
    try:
        yield Finished(demo, demo.wait(), demo.processes(), watched)
    finally:
        demo.close()


def test_a_demo_succeeds_and_leaves_no_process_and_no_temporary_file(finished: Finished) -> None:
    assert finished.exit_code == 0, finished.demo.text
    assert finished.left == {}
    assert list(finished.demo.scratch.glob("fedsilo-*")) == []
    assert "Traceback" not in finished.demo.text


def test_the_result_has_the_metrics(finished: Finished) -> None:
    result = json.loads((finished.demo.out / "result.json").read_text())
    assert re.fullmatch(r"heart-[0-9]{8}-[0-9]{6}-[0-9a-f]{2}", result["run_id"])
    assert result["silos"] == SILOS
    assert (result["state"], result["rounds_completed"]) == ("FINISHED", 3)
    assert 0.5 < result["test_auc"] <= 1
    assert 0 < result["test_accuracy"] <= 1
    assert 0 < result["round_seconds_median"] < result["start_to_first_round_seconds"] < WAIT_SECONDS
    assert result["experiments"] == ["heart-server", "heart-client-1", "heart-client-2"]


def test_the_model_has_the_names_of_the_workload(finished: Finished) -> None:
    model = load_file(finished.demo.out / "model.safetensors")
    assert {name: list(tensor.shape) for name, tensor in model.items()} == {
        "linear.weight": [1, 13],
        "linear.bias": [1],
        "mean": [13],
        "std": [13],
    }
    assert all(bool(tensor.isfinite().all()) for tensor in model.values())
    assert float(model["linear.weight"].abs().sum()) > 0, "the model has learned something"


def test_the_report_and_the_logs_are_written(finished: Finished) -> None:
    page = (finished.demo.out / "report.html").read_text()
    run = json.loads((finished.demo.out / "result.json").read_text())["run_id"]
    assert run in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page), "self-contained"
    for party in ("aggregator", *SILOS):
        assert f"{party} is done" in (finished.demo.out / "logs" / f"{party}.log").read_text()


def test_the_output_has_a_row_for_every_silo_and_names_the_folder(finished: Finished) -> None:
    text = finished.demo.text
    for silo in SILOS:
        assert re.search(rf"{silo} +.* FINISHED .*0\.[0-9]{{3}}", text)
    assert f"report, model, result and logs: {finished.demo.out}\n" in text


def test_no_party_looks_up_or_connects_to_anything_but_the_emulator(finished: Finished) -> None:
    events = finished.events()
    [endpoint] = {endpoint for _, _, endpoint in events["cleveland"]}
    port = int(endpoint.removeprefix("http://127.0.0.1:"))
    allowed = {("socket.getaddrinfo", f"('127.0.0.1', {port})"), ("socket.connect", f"('127.0.0.1', {port})")}
    assert events.keys() == {"", *PARTIES}
    for party in PARTIES:
        assert {(event, target) for event, target, _ in events[party]} == allowed, party
        assert {each for _, _, each in events[party]} == {endpoint}
    bound = {("socket.getaddrinfo", "('127.0.0.1', 0)"), ("socket.gethostbyaddr", "('127.0.0.1',)")}
    assert {(event, target) for event, target, _ in events[""]} <= allowed | bound, "the demo and the emulator"


def test_the_watch_records_lookups_and_connections(tmp_path: Path) -> None:
    """The control of the test above."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    (tmp_path / "watched").mkdir()
    script = """
import socket, urllib.request
for call in (
    lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    lambda: urllib.request.urlopen("http://open.fedml.invalid/"),
    lambda: socket.gethostbyname("a.invalid"),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
):
    try:
        call()
    except OSError:
        pass
"""
    variables = {"PYTHONPATH": str(tmp_path), "WATCHED_TO": str(tmp_path / "watched"), "FEDSILO_PARTY": "control"}
    subprocess.run([sys.executable, "-c", script], env=os.environ | variables, check=True)
    [log] = (tmp_path / "watched").iterdir()
    seen = {tuple(line.split("\t")[:3]) for line in log.read_text().splitlines()}
    assert seen >= {
        ("control", "socket.connect", "('127.0.0.1', 9)"),
        ("control", "socket.getaddrinfo", "('open.fedml.invalid', 80)"),
        ("control", "socket.gethostbyname", "('a.invalid',)"),
        ("control", "socket.sendto", "('127.0.0.1', 9)"),
    }


def rounds(demo: Demo) -> int:
    """The last round that the demo has shown."""
    return [0, *(int(each) for each in re.findall(r"round ([0-9]+)/", demo.text))][-1]


def test_killed_processes_are_reported_and_restarted_and_ctrl_c_ends_everything(start: Callable[..., Demo]) -> None:
    demo = start("--silos", "3", "--rounds", "500", "--quorum", "2", "--deadline", "30")
    demo.until(lambda: rounds(demo) > 0, "the first rounds")
    os.kill(demo.python("trainer hungary"), signal.SIGKILL)
    demo.until(
        lambda: "hungary: the trainer was killed by signal 9; it will be started again; its last lines:\n" in demo.text,
        "the report of the trainer's death",
    )
    assert re.search(r"its last lines:\n    .* INFO fedsilo.training.trainer: hungary takes part in run", demo.text)
    os.kill(demo.python("agent cleveland"), signal.SIGKILL)
    demo.until(lambda: "the agent of cleveland ended and was started again" in demo.text, "the restart of the agent")
    reached = rounds(demo)
    demo.until(lambda: rounds(demo) > reached + 2, "more rounds")
    demo.until(lambda: "trainer hungary" in demo.processes().values(), "the restart of the trainer")

    demo.signal(signal.SIGINT)
    assert demo.wait() == 130, demo.text
    assert demo.processes() == {}
    assert list(demo.scratch.glob("fedsilo-*")) == []
    assert "Traceback" not in demo.text
    for party in ("aggregator", "cleveland"):
        log = (demo.out / "logs" / f"{party}.log").read_text()
        assert "stopped by SIGTERM; it continues where it was when it is started again" in log


@pytest.mark.parametrize("who", ["agent aggregator", "trainer hungary"])
def test_sigterm_while_the_parties_start_ends_everything(start: Callable[..., Demo], who: str) -> None:
    demo = start("--silos", "2", "--rounds", "500")
    demo.until(lambda: who in demo.processes().values(), who)
    pids = {pid for pid, name in demo.processes().items() if name == who}
    demo.signal(signal.SIGTERM)
    until(lambda: not pids & demo.processes().keys(), f"the end of {who}")
    demo.signal(signal.SIGINT)  # a second signal must not disturb the clean-up
    assert demo.wait() == 130, demo.text
    assert demo.processes() == {}
    assert list(demo.scratch.glob("fedsilo-*")) == []
    assert "Traceback" not in demo.text
    assert "interrupted" in demo.text


def test_a_demo_that_a_policy_refuses_gives_the_reason(start: Callable[..., Demo]) -> None:
    demo = start("--silos", "2", "--rounds", "1001")
    assert demo.wait() == 3, demo.text
    assert "policy.max_rounds: 1001 rounds are more than 1000" in demo.text
    assert demo.processes() == {}
    assert json.loads((demo.out / "result.json").read_text())["state"] != "FINISHED"
