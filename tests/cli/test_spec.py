"""``fedsilo spec``: the federation's file is checked without AWS."""

import json

from tests.support.operator_harness import SILOS, OperatorHarness


def test_spec_check_does_not_call_aws(operator: OperatorHarness) -> None:
    printed = operator.json("spec", "check")
    assert (printed["ok"], printed["federation"], printed["silos"]) == (True, operator.name, list(SILOS))
    assert "ok: federation" in operator.run("spec", "check", environment={"AWS_ACCESS_KEY_ID": None}).stdout
    operator.file.write_text(operator.file.read_text().replace("10.1.0.0/16", "10.0.0.0/16") + "colour: red\n")
    result = operator.run("spec", "check")
    assert result.exit_code == 1
    assert "overlaps aggregator.vpc_cidr" in result.stderr
    assert "colour: unknown key" in result.stderr
    result = operator.run("spec", "check", "--json")
    assert result.exit_code == 1
    printed = json.loads(result.stdout)
    assert (printed["ok"], len(printed["problems"])) == (False, 2)
