"""The commands of docs/operations.md reach the stacks of the party that they name, and no others."""

import re
import subprocess
from pathlib import Path

import aws_cdk as cdk

from fedsilo import names
from tests.support.synthesis import ROOT, Synthesized, hub_stacks

NEIGHBOURS = {"cleveland": "clevelandclinic", "aggregator": "aggregator2", "hub": "hubert"}
"""Silos with the longest names that the spec may have beside these parties and the hub."""


def test_documented_pattern_reaches_the_stacks_of_one_party(example: Synthesized, tmp_path: Path) -> None:
    stacks = set(example.templates)
    near = {stack.replace(f"-{a}", f"-{b}") for stack in stacks for a, b in NEIGHBOURS.items() if f"-{a}" in stack}
    app = cdk.App(outdir=str(tmp_path))
    for stack in sorted(stacks | near):
        cdk.Stack(app, stack)
    app.synth(skip_validation=True)
    commands = re.findall(r"cdk (?:deploy|destroy|diff) ([^`\n]*)", (ROOT / "docs" / "operations.md").read_text())
    patterns = {word.strip("'") for command in commands for word in command.split() if "*" in word}
    assert patterns == {"heart-aggregator-*", "heart-cleveland-*"}
    for pattern in patterns:
        party = pattern.split("-")[1]
        listed = subprocess.run(
            ["cdk", "list", pattern, "--app", str(tmp_path), "--no-notices"], capture_output=True, text=True, check=True
        ).stdout.split()
        expected = {s for s in stacks if s not in hub_stacks("heart") and example.party_of(s).name == party}
        assert set(listed) == expected, pattern
        assert names.stack("heart", party, "cluster") in listed
