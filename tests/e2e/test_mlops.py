"""The packages for FedML's platform, run as FedML's agents run them, in an environment with FedML's stock pins.

FedML's own managers carry the models over its gRPC backend, which needs no account. Everything else is as on the
platform: an unzipped package, its rewritten configuration, and ``python ENTRY --cf … --rank … --role …``. FedML's agent
itself logs in to a small server that stands in for the platform, up to the point where it would wait for runs.
"""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from fedsilo import names
from fedsilo.local.federation import party_settings
from fedsilo.mlops import package
from fedsilo.redaction import MASK
from tests.support.faulty_proxy import FaultyProxy
from tests.support.federations import RunningFederation, described
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
STOCK = ROOT / ".venvs" / "mlops" / "bin"
ENTRY = "mlops_entry.py"
SILOS = ("cleveland", "hungary")
ROUNDS = 3
SECONDS = 150.0

TORCHVISION = """
try:
    import torchvision
except RuntimeError:  # compiled against a CUDA build of torch, where a CPU build is installed; FedML needs none of it
    import torch
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
"""
"""Every Python process of the test runs this first. In the image, torch and torchvision are of one build."""


def unused_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def unpack(zipped: Path, kind: str, party: Path) -> Path:
    """Unzip a package as the platform's agent does. Returns the folder of the source."""
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(party)
    return party / f"{kind}-package" / "fedml"


def rewrite(source: Path, peers: Path, server_port: int) -> Path:
    """Write what FedML's agent writes into the configuration (build_dynamic_args), except for MQTT, S3 and its cloud.

    Some numbers become texts, as a form in the platform's UI makes them.
    """
    path = source / "config" / "fedml_config.yaml"
    sections: dict[str, Any] = yaml.safe_load(path.read_text())
    sections["common_args"] |= {"using_mlops": False, "random_seed": 1}
    sections["train_args"] |= {"comm_round": str(ROUNDS), "lr": "0.01"}
    sections["train_args"] |= {"run_id": "4711", "client_id_list": None, "client_num_in_total": len(SILOS)}
    sections["train_args"] |= {"client_num_per_round": len(SILOS)}
    sections["device_args"] |= {"worker_num": len(SILOS)}
    sections["comm_args"] = {"backend": "GRPC", "grpc_ipconfig_path": str(peers), "server_port": server_port}
    sections["tracking_args"] |= {"using_mlops": False}
    path.write_text(yaml.safe_dump(sections))
    return path


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens: a client of FedML's gRPC backend dies if it starts before its server."""

    def listens_or_has_ended() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return process.poll() is not None
        return True

    until(listens_or_has_ended, "the server to listen", SECONDS)


def sent_metrics(proxy: FaultyProxy) -> dict[tuple[str, str, int], float]:
    """The metrics that were sent to SageMaker, by trial component, metric and step."""
    calls = [json.loads(body) for body in proxy.metrics]
    return {
        (call["TrialComponentName"], each["MetricName"], each["Step"]): each["Value"]
        for call in calls
        for each in call["MetricData"]
    }


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_packages_learn_and_record_what_fedsilos_own_rounds_do(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultyProxy(endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        own = RunningFederation(proxy.endpoint, tmp_path, SILOS, rounds=ROUNDS)
        try:
            own.start_all()
            assert set(own.wait(names.AGGREGATOR, *SILOS).values()) == {0}, own.logs()
        finally:
            own.close()
        expected = sent_metrics(proxy)
        proxy.metrics.clear()
        outputs = run_packages(own, proxy.endpoint, tmp_path)
        sent = sent_metrics(proxy)
    federation = own.federation.name
    components = [f"{federation}-server", f"{federation}-client-1", f"{federation}-client-2"]
    assert {key[0] for key in sent} == {f"{name}-mlops-4711" for name in components}, outputs
    renamed = {(name.replace("mlops-4711", own.run.id), metric, step) for name, metric, step in sent}
    assert renamed == expected.keys()
    assert len(expected) == 2 * 2 * ROUNDS + 3 * ROUNDS
    auc = sent[f"{federation}-server-mlops-4711", "Test:AUC", ROUNDS]
    assert re.search(rf"Test:AUC {auc:.6g}( ± \S+)?, step {ROUNDS}\b", outputs), outputs
    for (name, metric, step), value in sent.items():
        # FedML adds the updates up in another order; ranks of two patients may change places.
        assert value == pytest.approx(expected[name.replace("mlops-4711", own.run.id), metric, step], abs=1e-3)


def run_packages(own: RunningFederation, endpoint: str, folder: Path) -> str:
    """Build the packages, run those of all parties, and return what they printed."""
    built = {each.path.name.partition("-")[0]: each.path for each in package.build("heart_disease", folder / "out")}
    shim = folder / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(TORCHVISION)
    ports = unused_ports(len(SILOS) + 1)
    peers = folder / "peers.csv"
    lines = [f"{rank},{rank},127.0.0.1,{port}" for rank, port in enumerate(ports)]
    peers.write_text("\n".join(["eid,rank,grpc_server_ip,grpc_server_port", *lines]) + "\n")
    homes = [folder / f"home-{party}" for party in (names.AGGREGATOR, *SILOS)]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for rank, (party, home) in enumerate(zip((names.AGGREGATOR, *SILOS), homes, strict=True)):
            home.mkdir()
            kind = "client" if rank else "server"
            source = unpack(built[kind], kind, home)
            conf = rewrite(source, peers, ports[0])
            variables = party_settings(own.federation, party).to_environment() | {"AWS_ENDPOINT_URL": endpoint}
            command = ["python", str(source / ENTRY), "--cf", str(conf), "--rank", str(rank), "--role", kind]
            processes.append(start_package(command, source, home, variables | {"PYTHONPATH": str(shim)}))
            if not rank:
                wait_for(ports[0], processes[0])
        codes = wait_for_ends(processes, homes)
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert codes == [0, 0, 0], outputs(homes)
    return outputs(homes)


def outputs(homes: list[Path]) -> str:
    """What the packages' processes have printed."""
    return "\n".join(f"--- {home.name}\n{(home / 'log.txt').read_text(errors='replace')}" for home in homes)


def start_package(command: list[str], source: Path, home: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a package as the platform's agent does; it prints into ``log.txt`` in ``home``."""
    environment = {
        **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        "FEDML_ENV_VERSION": "local",
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "PATH": str(STOCK),
        "TMPDIR": str(home),
        **variables,
    }
    with (home / "log.txt").open("wb") as log:
        return subprocess.Popen(
            command, cwd=source, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


def wait_for_ends(processes: list[subprocess.Popen[bytes]], homes: list[Path]) -> list[int | None]:
    """The processes' exit codes, once all have ended or one has failed."""

    def codes() -> list[int | None]:
        return [process.poll() for process in processes]

    until(lambda: None not in codes() or any(codes()), lambda: f"the processes to end\n{outputs(homes)}", SECONDS)
    return codes()


REDIRECT = """
import os
import requests

_send = requests.Session.request

def _redirected(self, method, url, **options):
    for host in ("https://open.fedml.ai", "https://checkip.amazonaws.com"):
        url = url.replace(host, os.environ["PLATFORM"])
    return _send(self, method, url, **options)

requests.Session.request = _redirected
"""
"""Leads FedML's calls to the server of the test."""

KEY = "0123456789abcdef0123456789abcdef"


class Platform(ThreadingHTTPServer):
    """As much of FedML's platform as a login needs. It refuses each device once, with its key in the answer.

    ``bound``: what each device said of itself; ``seen``: command lines and environments of the agent's processes at
    that moment. Its MQTT broker is not there.
    """

    def __init__(self) -> None:
        self.bound: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, str]] = []
        self._refused: set[str] = set()
        (self._no_broker,) = unused_ports(1)
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, "203.0.113.7")

            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(*platform.reply(self.path, said))

            def _answer(self, code: int, body: str) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self, path: str, said: dict[str, Any]) -> tuple[int, str]:
        if path != "/bind":
            broker = {"BROKER_HOST": "127.0.0.1", "BROKER_PORT": self._no_broker, "MQTT_USER": "u", "MQTT_PWD": "p"}
            data = {
                "mqtt_config": {**broker, "MQTT_KEEPALIVE": 180},
                "s3_config": {},
                "ml_ops_config": {"EDGE_BINDING_URL": f"{self.url}/bind", "LOG_SERVER_URL": f"{self.url}/log"},
                "docker_config": {},
            }
            return 200, json.dumps({"code": "SUCCESS", "data": data})
        device = said["deviceid"]
        self.seen += processes_of(device.partition("@")[0])
        if device not in self._refused:
            self._refused.add(device)
            return 500, f"no account has the key {said['api_key']}"
        self.bound[device] = said
        return 200, json.dumps({"code": "SUCCESS", "data": {"id": 7, "userName": "somebody"}})


def processes_of(device: str) -> list[tuple[str, str]]:
    """Command line and environment of every process below the device's home."""
    return [(line, environment) for _, line, environment in _processes(device)]


def _processes(device: str) -> Iterator[tuple[int, str, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, environment = ((folder / file).read_text(errors="replace") for file in ("cmdline", "environ"))
        except OSError:
            continue
        if f"home-of-{device}\0" in environment:
            yield int(folder.name), line, environment


def start_agent(home: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    """Start FedML's agent as its pod does."""
    home.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        "NO_PROXY": "127.0.0.1",
        "PATH": f"{STOCK}:/usr/bin:/bin",
        "TMPDIR": str(home),
        "HOME": str(home),
        **variables,
    }
    return subprocess.Popen(
        ["python", "-m", "fedsilo.mlops.agent"], cwd=home, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_fedmls_agent_logs_in_and_no_other_process_and_no_log_sees_its_key(endpoint: str, tmp_path: Path) -> None:
    boto3.client("secretsmanager").create_secret(Name="heart/fedml", SecretString=KEY)
    federation = described("heart", SILOS)
    devices = {party: f"heart-{party}" for party in (names.AGGREGATOR, "hungary")}
    (shim := tmp_path / "shim").mkdir()
    (shim / "sitecustomize.py").write_text(TORCHVISION + REDIRECT)
    platform = Platform()
    threading.Thread(target=platform.serve_forever, daemon=True).start()
    agents = {}
    try:
        for party, device in devices.items():
            variables = party_settings(federation, party).to_environment() | {
                names.MLOPS_SECRET_VARIABLE: "heart/fedml",
                "AWS_ENDPOINT_URL": endpoint,
                "PLATFORM": platform.url,
                "PYTHONPATH": f"{shim}:{ROOT}",
            }
            agents[party] = start_agent(tmp_path / f"home-of-{device}", variables)
        said = {party: agent.communicate(timeout=SECONDS)[0] for party, agent in agents.items()}
    finally:
        platform.shutdown()
        platform.server_close()
        for device in devices.values():
            for pid, *_ in _processes(device):
                os.kill(pid, signal.SIGKILL)
    bound = {device: (told["role"], told["api_key"]) for device, told in platform.bound.items()}
    assert bound.pop("heart-aggregator@Linux.Edge.Server") == ("edge_server", KEY), said
    assert bound.pop("heart-hungary@Linux.Edge.Device") == ("client", KEY), said
    # FedML also offers a silo for serving models, which nobody asked for.
    assert bound.keys() <= {f"heart-hungary@Linux.OnPremise.{kind}Device" for kind in ("", "Master.")}
    for party, agent in agents.items():
        assert agent.returncode == 1, said[party]
        assert f"no account has the key {MASK}" in said[party]
        assert KEY not in said[party]
        assert "FedML's agent ended with exit code" in said[party]
    assert any("fedsilo.mlops.login" in line for line, _ in platform.seen)
    assert not any(KEY in line or KEY in environment for line, environment in platform.seen)
