"""What the price of a federation follows from: the resources that its spec synthesizes."""

import json
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fedsilo.admin import cost
from fedsilo.cli.main import app
from fedsilo.config.load import load_federation
from fedsilo.errors import SpecError

SPEC = """
name: heart
aggregator: {region: us-east-1, vpc_cidr: 10.0.0.0/16}
silos:
  - {name: isolated, vpc_cidr: 10.1.0.0/16}
  - {name: two-zones, vpc_cidr: 10.2.0.0/16, endpoint_zones: 2}
  - {name: open, vpc_cidr: 10.3.0.0/16, egress: nat}
  - {name: gpu, vpc_cidr: 10.4.0.0/16, compute: {gpu: 2}}
  - {name: own-data, vpc_cidr: 10.5.0.0/16, data: s3}
  - {name: watched, vpc_cidr: 10.6.0.0/16, add_ons: [amazon-cloudwatch-observability]}
"""


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> list[cost.CostItem]:
    path = tmp_path_factory.mktemp("cost") / "federation.yaml"
    path.write_text(SPEC)
    told = CliRunner().invoke(app, ["cost", "--json", "--federation", str(path)])
    assert told.exit_code == 0, told.output
    return [cost.CostItem(**line) for line in json.loads(told.stdout)]


def of(priced: list[cost.CostItem], party: str) -> dict[str, cost.CostItem]:
    return {line.item: line for line in priced if line.party == party}


def idle(priced: list[cost.CostItem], party: str) -> float:
    return sum(line.monthly for line in priced if line.party == party)


def test_isolation_and_each_further_zone_cost_what_their_endpoints_cost(priced: list[cost.CostItem]) -> None:
    assert of(priced, "isolated")["Interface endpoints, times zones"].quantity == 10
    assert idle(priced, "two-zones") - idle(priced, "isolated") == pytest.approx(10 * 7.30)
    assert idle(priced, "isolated") - idle(priced, "open") == pytest.approx(10 * 7.30 - 36.50)


def test_gpu_costs_while_it_trains_and_nothing_while_it_does_not(priced: list[cost.CostItem]) -> None:
    assert idle(priced, "gpu") == pytest.approx(idle(priced, "isolated"))
    assert of(priced, "gpu")["Trainer, GPUs"].training_hour == pytest.approx(2 * 1.006 * 1.12)
    assert of(priced, "isolated")["Trainer, vCPUs"].training_hour == pytest.approx(2 * 0.048 * 1.12)


def test_container_insights_cost_who_asks_for_them_and_nobody_else(priced: list[cost.CostItem]) -> None:
    assert "Container Insights" not in of(priced, "isolated")
    assert idle(priced, "watched") - idle(priced, "isolated") == pytest.approx(12.00 + 2 * 7.30)


def test_own_data_costs_its_key_and_the_hub_is_the_aggregators(priced: list[cost.CostItem]) -> None:
    assert idle(priced, "own-data") - idle(priced, "isolated") == pytest.approx(1.00)
    assert of(priced, "aggregator")["Alarms"].quantity == 15
    assert "Alarms" not in of(priced, "isolated")


def test_table_has_every_line_and_the_sum(priced: list[cost.CostItem], capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=120).print(cost.table(priced))
    text = capsys.readouterr().out
    assert all(line.item in text for line in priced)
    assert f"{sum(line.monthly for line in priced):,.2f}" in text
    assert cost.as_of() in text


def test_spec_that_is_not_valid_has_no_price(tmp_path: Path) -> None:
    path = tmp_path / "federation.yaml"
    path.write_text("name: heart")
    with pytest.raises(SpecError, match="no templates to price: silos: is missing"):
        cost.templates(path)


def test_a_party_whose_agent_trains_in_its_own_pod_pays_for_a_trainer_all_month() -> None:
    hosted_file = Path(__file__).parents[1] / "stacks" / "mlops.yaml"
    hosted, own = (
        {item.party: item for item in cost.items(load_federation(file), {}) if item.item.startswith("Trainer")}
        for file in (hosted_file, hosted_file.with_name("everything.yaml"))
    )
    assert hosted["far"].monthly == pytest.approx(own["other"].training_hour * cost.HOURS)
    assert (hosted["far"].training_hour, own["other"].monthly) == (0, 0)


def test_every_price_names_its_unit_its_source_and_when_it_was_read() -> None:
    for name, price in cost.prices().items():
        assert price.usd > 0, name
        assert price.unit, name
        assert price.source.startswith("https://aws.amazon.com/"), name
        assert price.read >= date(2026, 11, 1), name


def test_the_checkout_is_the_current_folder_or_that_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (cost.checkout() / "fedsilo" / "admin" / "cost.py").samefile(cost.__file__)
    for file in ("app.py", "cdk.json"):
        (tmp_path / file).touch()
    (tmp_path / "stacks").mkdir()
    assert cost.checkout() == tmp_path


@pytest.mark.parametrize("need", ["a checkout of fedsilo", "the CDK"])
def test_cost_says_in_one_line_what_it_needs(need: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "federation.yaml"
    path.write_text(SPEC)
    if need == "the CDK":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    else:  # as installed from a wheel
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(cost, "__file__", str(tmp_path / "lib" / "fedsilo" / "admin" / "cost.py"))
    done = CliRunner().invoke(app, ["cost", "--federation", str(path)])
    assert done.exit_code == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: fedsilo cost needs {need}")
