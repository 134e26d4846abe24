"""FedML's learning half is FedML's own code, and its cloud client is not loaded."""

import json
import subprocess
import sys

import pytest

FRESH = """
import sys, json
import fedsilo.training.session
from fedsilo import fedml_shim
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.client import SiloManager
from fedsilo.training.comm import MailCommManager, MailManagerMixin
from fedsilo.training.server import AggregatorManager
from fedsilo.workload.base import Aggregator, Trainer

def below(name):
    parts = name.split(".")
    return any(".".join(parts[:end]) in fedml_shim.INERT_MODULES for end in range(1, len(parts) + 1))

fedml = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("fedml", "torchvision")}
from fedml.core.mlops import MLOpsConfigs
from fedml.computing.scheduler.comm_utils import sys_utils
print(json.dumps({
    "modules": len(sys.modules),
    "inert": sorted(name for name in fedml if below(name)),
    "real below inert": [
        name for name, module in fedml.items() if below(name) and getattr(module, "__file__", None) is not None
    ],
    "inert elsewhere": [
        name for name, module in fedml.items() if not below(name) and type(module).__name__ != "module"
    ],
    "bases": {
        cls.__name__: [f"{base.__module__}.{base.__name__}" for base in cls.__bases__ if base is not MailManagerMixin]
        for cls in (AggregatorManager, StreamingAggregator, SiloManager, MailCommManager, Trainer, Aggregator)
    },
    "files": {
        base.__name__: sys.modules[base.__module__].__file__.rpartition("/fedml/")[2]
        for cls in (AggregatorManager, StreamingAggregator, SiloManager, MailCommManager, Trainer, Aggregator)
        for base in cls.__bases__
        if base is not MailManagerMixin
    },
    "cloud clients": sorted(
        name for name in ("paho", "wandb", "docker", "redis", "fastapi", "torchvision.ops", "sqlalchemy", "aiohttp")
        if name in sys.modules and getattr(sys.modules[name], "__file__", None)
    ),
    "a call to the cloud": repr(MLOpsConfigs.fetch_all_configs()),
    "sagemaker": "sagemaker" in sys.modules,
}))
"""


def fresh(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    process = fresh(FRESH)
    assert process.returncode == 0, process.stderr
    result: dict[str, object] = json.loads(process.stdout.splitlines()[-1])
    return result


def test_modules_of_the_cloud_client_are_inert_and_all_others_are_real(found: dict[str, object]) -> None:
    assert found["inert"], "FedML imports them"
    assert found["real below inert"] == []
    assert found["inert elsewhere"] == []
    assert found["cloud clients"] == []
    assert "_Inert" in str(found["a call to the cloud"]), "it does nothing"


def test_fedsilos_classes_extend_fedmls_own(found: dict[str, object]) -> None:
    assert found["bases"] == {
        "AggregatorManager": ["fedml.cross_silo.server.fedml_server_manager.FedMLServerManager"],
        "StreamingAggregator": ["fedml.cross_silo.server.fedml_aggregator.FedMLAggregator"],
        "SiloManager": ["fedml.cross_silo.client.fedml_client_master_manager.ClientMasterManager"],
        "MailCommManager": ["fedml.core.distributed.communication.base_com_manager.BaseCommunicationManager"],
        "Trainer": ["fedml.core.alg_frame.client_trainer.ClientTrainer"],
        "Aggregator": ["fedml.core.alg_frame.server_aggregator.ServerAggregator"],
    }
    assert found["files"] == {
        "FedMLServerManager": "cross_silo/server/fedml_server_manager.py",
        "FedMLAggregator": "cross_silo/server/fedml_aggregator.py",
        "ClientMasterManager": "cross_silo/client/fedml_client_master_manager.py",
        "BaseCommunicationManager": "core/distributed/communication/base_com_manager.py",
        "ClientTrainer": "core/alg_frame/client_trainer.py",
        "ServerAggregator": "core/alg_frame/server_aggregator.py",
    }


def test_a_trainer_loads_less_than_half_of_the_modules_that_import_fedml_loads(found: dict[str, object]) -> None:
    assert isinstance(found["modules"], int)
    assert found["modules"] < 2400, "import fedml alone loads about 4,700"
    assert not found["sagemaker"], "the tracker imports it in a thread of its own"


def test_importing_fedml_first_is_an_error_that_says_what_to_do() -> None:
    process = fresh("import sys; sys.modules['fedml'] = sys; import fedsilo.fedml_shim")
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        "RuntimeError: fedml was imported before fedsilo.fedml_shim; import fedsilo.fedml_shim first"
    )
