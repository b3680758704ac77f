"""Settings of the adapter: what small part learns inside a frozen backbone."""

from typing import Annotated, Literal

from dinotune.config.base import FromKindName, Section


class Frozen(Section):
    """No adapter: the backbone is used as it is (blocks may still learn through `backbone.trainable`)."""

    kind: Literal["frozen"] = "frozen"
    """Name of the adapter."""


Adapter = Annotated[Frozen, FromKindName]
