"""Seeds for private generators, as a function of numbers alone."""

import hashlib


def mix_seed(*numbers: int) -> int:
    """A 63-bit seed from e.g. (seed, epoch, index); near inputs give unrelated seeds, on every machine the same."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
