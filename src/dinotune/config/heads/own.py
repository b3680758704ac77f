"""Settings of a head of the user's own."""

from typing import ClassVar

from dinotune.config.own import OwnPart
from dinotune.config.tasks import TaskName


class OwnHead(OwnPart):
    """A head of your own by import path, e.g. `my_lab.heads:WindowHead`, with `options`."""

    task: ClassVar[TaskName] = "detection"
