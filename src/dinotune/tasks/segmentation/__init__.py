"""Segmentation of scenes: a class for each pixel, from model to user, and what it is worth."""
