"""Settings of a head of the user's own."""

from dinotune.config.own import OwnPart
from dinotune.config.tasks import TaskName


class OwnHead(OwnPart):
    """A head of your own by import path, e.g. `my_lab.heads:WindowHead`, with `options`."""

    task: TaskName = "detection"
    """What it answers: boxes, or a class per picture."""
