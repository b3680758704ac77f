"""Detections of a trained model in your own pictures: python examples/predict.py RUN PICTURE [PICTURE ...]"""

import sys

import dinotune as dt

run, *pictures = sys.argv[1:]
model = dt.load(run)  # a run folder, or one file of its checkpoints
for picture in pictures:
    found = model.predict(picture)  # supervision.Detections, in the picture's own pixels
    print(f"{picture}: {len(found)} found")
    for box, score, name in zip(found.xyxy, found.confidence, found.data["class_name"], strict=True):
        left, top, right, bottom = box.round().astype(int).tolist()
        print(f"  {name} {score:.2f}: {left}, {top} to {right}, {bottom}")
