"""The packages for FedML's platform, run as its agents run them, in an environment with FedML's stock pins (make e2e).

FedML's own managers carry the models over its gRPC backend, which needs no account; everything else is what the
platform's agents do: an unzipped package, its rewritten configuration, and ``python ENTRY --cf … --rank … --role …``.
"""

import json
import os
import signal
import socket
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsilo import local, names, package
from tests.faulty_proxy import FaultyProxy
from tests.federations import RunningFederation

ROOT = Path(__file__).parents[2]
STOCK = ROOT / "tests" / "mlops" / ".venv" / "bin"
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
"""What every Python of the test does first; in the image both are of one build."""


def unused_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def unpack(zipped: Path, kind: str, party: Path) -> Path:
    """What the platform's agent makes of a package: the folder in which the source lies."""
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(party)
    return party / f"{kind}-package" / "fedml"


def rewrite(source: Path, peers: Path, server_port: int) -> Path:
    """The configuration with what FedML's agent writes into it (build_dynamic_args), but for MQTT, S3 and its cloud.

    A text where a number was is what a form in the platform's UI makes of it.
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
    """A client of FedML's gRPC backend that comes before its server dies."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


def sent_metrics(proxy: FaultyProxy) -> dict[tuple[str, str, int], float]:
    """What SageMaker got, by trial component, metric and step."""
    calls = [json.loads(body) for body in proxy.metrics]
    return {
        (call["TrialComponentName"], each["MetricName"], each["Step"]): each["Value"]
        for call in calls
        for each in call["MetricData"]
    }


@pytest.mark.deploy
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
    renamed = {(name.replace("mlops-4711", own.run.run), metric, step) for name, metric, step in sent}
    assert renamed == expected.keys()
    assert len(expected) == 2 * 2 * ROUNDS + 3 * ROUNDS
    assert f"Test:AUC {sent[f'{federation}-server-mlops-4711', 'Test:AUC', ROUNDS]:.6g}, step {ROUNDS}" in outputs
    for (name, metric, step), value in sent.items():
        # FedML adds the updates up in another order; ranks of two patients may change places.
        assert value == pytest.approx(expected[name.replace("mlops-4711", own.run.run), metric, step], abs=1e-3)


def run_packages(own: RunningFederation, endpoint: str, folder: Path) -> str:
    """Build the packages, run the aggregator's and the silos', and return what they said."""
    built = {each.path.name.partition("-")[0]: each.path for each in package.build("heart_disease", folder / "out")}
    shim = folder / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(TORCHVISION)
    ports = unused_ports(len(SILOS) + 1)
    peers = folder / "peers.csv"
    lines = [f"{rank},{rank},127.0.0.1,{port}" for rank, port in enumerate(ports)]
    peers.write_text("\n".join(["eid,rank,grpc_server_ip,grpc_server_port", *lines]) + "\n")
    processes, logs = [], []
    try:
        for rank, party in enumerate((names.AGGREGATOR, *SILOS)):
            kind = "client" if rank else "server"
            (home := folder / f"home-{party}").mkdir()
            source = unpack(built[kind], kind, home)
            environment = {
                **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
                **local.settings(own.federation, party).to_environment(),
                "AWS_ENDPOINT_URL": endpoint,
                "FEDML_ENV_VERSION": "local",
                "HOME": str(home),
                "OMP_NUM_THREADS": "1",
                "PATH": str(STOCK),
                "PYTHONPATH": str(shim),
                "TMPDIR": str(home),
            }
            conf = rewrite(source, peers, ports[0])
            logs.append(home / "log.txt")
            with logs[-1].open("wb") as log:
                command = ["python", str(source / ENTRY), "--cf", str(conf), "--rank", str(rank), "--role", kind]
                processes.append(
                    subprocess.Popen(
                        command, cwd=source, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                        stderr=subprocess.STDOUT, start_new_session=True,
                    )
                )  # fmt: skip
            if not rank:
                wait_for(ports[0], processes[0])
        deadline = time.monotonic() + SECONDS
        while None in (codes := [process.poll() for process in processes]) and time.monotonic() < deadline:
            if any(codes):
                break
            time.sleep(0.2)
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    outputs = "\n".join(f"--- {log.parent.name}\n{log.read_text(errors='replace')}" for log in logs)
    assert codes == [0, 0, 0], outputs
    return outputs
