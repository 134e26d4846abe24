"""cfn-lint and the validation of ``cdk synth`` accept the templates."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.synthesis import FILES, ROOT, Synthesized

IGNORED = {
    "W3005": "CDK's own functions name their role twice",
    "W3010": "zones come from the spec, so that synth asks nobody",
}


@pytest.mark.e2e
def test_cfn_lint_reports_nothing(example: Synthesized, everything: Synthesized, mlops: Synthesized) -> None:
    shapes = [
        *example.directory.glob("heart-hub.template.json"),
        *example.directory.glob("heart-cleveland-*.template.json"),
        *everything.directory.glob("*.template.json"),
        *mlops.directory.glob("hosted-near-*.template.json"),
    ]
    assert len(shapes) == 1 + 4 + len(everything.templates) + 4
    done = subprocess.run(
        ["cfn-lint", "--format", "parseable", "--ignore-checks", *IGNORED, "--template", *map(str, shapes)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.e2e
@pytest.mark.parametrize("name", FILES)
def test_synth_passes_cdks_own_validation_without_a_warning(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "FEDSILO_FEDERATION_FILE": str(FILES[name]), "CDK_OUTDIR": str(tmp_path)}
    environment.pop("CDK_VALIDATION", None)
    done = subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, re.findall("^WARNING.*", done.stdout + done.stderr, re.M)) == (0, []), done.stderr
    (report,) = json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
    assert (report["conclusion"], report["violations"]) == ("success", [])


def test_invalid_spec_is_reported_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "federation.yaml").write_text("name: Heart")
    environment = {**os.environ, "FEDSILO_FEDERATION_FILE": str(tmp_path / "federation.yaml")}
    done = subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:] == [
        "name: Heart should be 2 to 20 of a-z, 0-9 and hyphen, a letter first and no hyphen last",
        "aggregator: is missing",
        "silos: is missing",
    ]
