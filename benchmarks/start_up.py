"""What commands cost before they begin, beside importing torch.

Run `uv run python -m benchmarks.start_up`; the result goes to `benchmarks/results/`.
"""

import resource
import subprocess
import sys

from benchmarks.side_by_side import Timer, in_turn, machine, publish, ratio, table

ROUNDS = 7
DINOTUNE = "import sys; from dinotune.cli import run; sys.exit(run(sys.argv[1:]))"
COMMANDS = {
    "dinotune --help": (DINOTUNE, "--help"),
    "dinotune list heads": (DINOTUNE, "list", "heads"),
    "dinotune train with an unknown setting": (DINOTUNE, "train", "faster_rcnn", "head.layers=3"),
    "import dinotune": ("import dinotune",),
    "import torch": ("import torch",),
    "python with nothing": ("",),
}


def started(script: str, *words: str) -> Timer:
    """Processor time of a process of its own."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script, *words], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def main() -> None:
    """Measure all and write the table."""
    times = in_turn({name: started(*command) for name, command in COMMANDS.items()}, ROUNDS)
    publish(
        "start_up",
        "# Start-up",
        f"{machine('torch', 'typer', 'pydantic')}. Processor time of whole processes as a share of `import torch`, in turn, median of "
        f"{ROUNDS} rounds with warm disks.",
        table(
            ["process", "share of `import torch`"],
            [[f"`{name}`", f"{ratio(times, name, 'import torch'):.2f}"] for name in times],
        ),
    )


if __name__ == "__main__":
    main()
