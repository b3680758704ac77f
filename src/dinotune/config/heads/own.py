"""Settings of a head of the user's own."""

from dinotune.config.own import OwnPart


class OwnHead(OwnPart):
    """A head of your own by import path, e.g. `my_lab.heads:WindowHead`, with `options`."""
