"""Mask decoders: queries that find the pixels of a class or of an object."""

from dinotune.heads.mask_decoder.instance import InstanceMaskDecoderHead
from dinotune.heads.mask_decoder.semantic import MaskDecoderHead

__all__ = ["InstanceMaskDecoderHead", "MaskDecoderHead"]
