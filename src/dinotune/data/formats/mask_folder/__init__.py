"""Mask folders: a mask file per picture, whose pixels say classes."""
