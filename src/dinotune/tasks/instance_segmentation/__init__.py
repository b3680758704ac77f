"""Segmentation of objects: detections with a mask each, and what they are worth."""
