"""COCO JSON: one file per split, with ids."""
