"""checkov accepts the templates. It pins a hundred packages, so it has an environment of its own (make e2e)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKOV = ROOT / ".venvs" / "checkov" / "bin" / "checkov"
SPECS = (ROOT / "federation.yaml", *(ROOT / "tests" / "stacks" / f"{name}.yaml" for name in ("everything", "mlops")))

CDKS_OWN = ("ClusterKubectlProvider", "CustomVpcRestrictDefaultSG", "CustomS3AutoDeleteObjects")
ACCEPTED = {
    "CKV_AWS_115": "no reserved concurrency: the functions run while stacks change, and once at a time",
    "CKV_AWS_116": "no dead-letter queue: CloudFormation waits for the answer and reports a failure itself",
    "CKV_AWS_117": "not in the VPC: these call EC2 and S3 for CloudFormation, and nothing in a party's network",
    "CKV_AWS_173": "the variables are a Region and a path, encrypted with AWS's key, and no secret",
}
"""Findings that are accepted on CDK's own functions, and on nothing else."""


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_checkov_finds_nothing_but_in_cdks_own_functions(tmp_path: Path) -> None:
    for spec in SPECS:
        environment = {**os.environ, "FEDSILO_FEDERATION_FILE": str(spec), "CDK_OUTDIR": str(tmp_path / spec.stem)}
        subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=environment, check=True, capture_output=True)
    command = [
        str(CHECKOV),
        "--framework",
        "cloudformation",
        "--compact",
        "--quiet",
        "--output",
        "json",
        "--skip-download",
    ]
    for template in sorted(tmp_path.glob("*/*.template.json")):
        command += ["--file", str(template)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 400
    assert report["summary"]["parsing_errors"] == 0
    found = {(f["check_id"], f["resource"].rpartition(".")[2]) for f in report["results"]["failed_checks"]}
    others = {(check, name) for check, name in found if check not in ACCEPTED or not name.startswith(CDKS_OWN)}
    assert others == set()
    assert {check for check, _ in found} == ACCEPTED.keys()
