"""What a check found, as text for a terminal or file, and as JSON."""

from collections.abc import Iterator
from typing import Any

from dinotune.data.checks.data_set import DataCheck, SplitCounts
from dinotune.data.problems import Findings, Kind, Problem, counted

MOST_CLASSES = 30
"""Classes that a split's line names; the JSON report has all."""


def describe(check: DataCheck, most: int | None = 20) -> list[str]:
    """Lines: counts, then every kind of problem with the rule applied and its places, at the `most` so many per kind."""
    lines = [f"{check.root or 'data'}: {check.format}", *check.notes]
    for counts in check.splits:
        lines += _counts(counts)
    lines.append(f"{counted(check.decoded, 'picture')} decoded in {check.seconds:.1f} s")
    lines += _problems(check.findings, most)
    return [*lines, "", verdict(check.findings)]


def _counts(counts: SplitCounts) -> Iterator[str]:
    pictures = f"{counts.split}: {counted(counts.pictures, 'picture')}"
    sizes = ", ".join(f"{number:,} {name}" for name, number in counts.sizes.items())
    ignored = f", {counted(counts.ignored, 'ignore region')}" if counts.ignored else ""
    boxes = f" ({counts.without_objects:,} without objects), {counted(counts.boxes, 'box')} ({sizes}){ignored}"
    yield pictures + (boxes if counts.has in ("boxes", "instance_masks") else "")
    ranked = sorted(((name, number) for name, number in counts.classes.items() if number), key=lambda item: -item[1])
    if counts.shares:
        ranked.sort(key=lambda item: -counts.shares[item[0]])
        shown = [f"{name} {counts.shares[name]:.1%} in {number:,}" for name, number in ranked[:MOST_CLASSES]]
        if shown:  # the first one says what the numbers are
            name, number = ranked[0]
            shown[0] = f"{name} {counts.shares[name]:.1%} of pixels in {counted(number, 'picture')}"
    else:
        shown = [f"{name} {number:,}" for name, number in ranked[:MOST_CLASSES]]
    shown += [f"… and {len(ranked) - MOST_CLASSES} more classes"] * (len(ranked) > MOST_CLASSES)
    if shown:
        yield f"  {', '.join(shown)}"


def _problems(findings: Findings, most: int | None) -> Iterator[str]:
    kinds = sorted(findings.counts().items(), key=lambda item: not item[0].value.stops)
    for kind, count in kinds:
        rule = kind.value
        yield ""
        yield f"{rule.name}: {count:,} ({rule.remedy}{'; stops a training' if rule.stops else ''})"
        problems = [problem for problem in findings.problems if problem.kind is kind]
        for problem in problems[:most]:
            yield f"  {problem}"
        if most is not None and count > most:
            yield f"  … and {count - most:,} more; --all shows them, --report FILE writes them"


def verdict(findings: Findings) -> str:
    """One sentence: fine, or what training does."""
    stopping = len(findings.stopping)
    others = len(findings.problems) - stopping
    remarks = f"{others:,} {'remark' if others == 1 else 'remarks'}"
    if not stopping:
        return f"Fine: nothing stops a training ({remarks})."
    what, them = ("1 problem stops", "it") if stopping == 1 else (f"{stopping:,} problems stop", "them")
    splits = sum(problem.kind in (Kind.NO_LABELS, Kind.UNUSABLE_SPLIT) for problem in findings.problems)
    rest = "" if splits else ", or train on the rest with data.on_error=skip"
    return f"{what} a training ({remarks}). Mend {them}{rest}."


def to_json(check: DataCheck) -> dict[str, Any]:
    """Everything, for other programs."""
    return {
        "root": None if check.root is None else str(check.root),
        "format": check.format,
        "notes": list(check.notes),
        "splits": [{**vars(counts)} for counts in check.splits],
        "decoded": check.decoded,
        "seconds": round(check.seconds, 3),
        "fine": not check.findings.stopping,
        "problems": [_problem(problem) for problem in check.findings.problems],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    rule = problem.kind.value
    return {
        "kind": problem.kind.name.lower(),
        "name": rule.name,
        "remedy": rule.remedy,
        "stops": rule.stops,
        "file": str(problem.file),
        "line": problem.line,
        "entry": problem.entry,
        "message": problem.message,
    }
