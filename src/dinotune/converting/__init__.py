"""A data set in one format, written in another."""

from dinotune.converting.run import Conversion, SplitCount, convert, report_conversion

__all__ = ["Conversion", "SplitCount", "convert", "report_conversion"]
