"""The check of a data set: its pictures, its splits, and the report; loads no torch."""
