"""The doctor's page for people, and the same as JSON for issue reports."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dinotune.doctor.facts import Facts
from dinotune.doctor.findings import Finding, Level


def page(findings: Sequence[Finding]) -> str:
    """A line per finding, what to do below it, and a verdict."""
    width = max(len(finding.topic) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<5} {finding.topic:<{width}}  {finding.message}")
        if finding.remedy:
            lines.append(f"{'':<{width + 6}}  -> {finding.remedy}")
    failures = sum(finding.level is Level.FAIL for finding in findings)
    if failures:
        verdict = f"{failures} of these prevent training here"
    elif any(finding.level is Level.LATE for finding in findings):
        verdict = "Nothing found that prevents training, but not all was learned in time."
    else:
        verdict = "This machine can train."
    return "\n".join([*lines, "", verdict])


def as_json(facts: Facts, findings: Sequence[Finding]) -> dict[str, Any]:
    """Facts and findings as plain values."""
    return {
        "facts": asdict(facts),
        "findings": [asdict(finding) for finding in findings],
        "can_train": can_train(findings),
    }


def can_train(findings: Sequence[Finding]) -> bool:
    """Whether nothing prevents training with the usual settings."""
    return all(finding.level is not Level.FAIL for finding in findings)
