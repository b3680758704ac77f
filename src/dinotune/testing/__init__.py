"""The tests that every head and every adapter must pass, for parts of your own too; needs no pytest.

`check_head` and `check_adapter` run all of them; `HEAD_CHECKS` and `ADAPTER_CHECKS` hold them one by one.
"""

from dinotune.testing.adapters import ADAPTER_CHECKS, AdapterTrial, check_adapter
from dinotune.testing.batches import random_batch
from dinotune.testing.heads import HEAD_CHECKS, check_head, head_trial
from dinotune.testing.models import MODEL_CHECKS, ModelTrial

__all__ = [
    "ADAPTER_CHECKS",
    "HEAD_CHECKS",
    "MODEL_CHECKS",
    "AdapterTrial",
    "ModelTrial",
    "check_adapter",
    "check_head",
    "head_trial",
    "random_batch",
]
