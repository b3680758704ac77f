"""YOLO: a text file per picture, boxes as shares of its sides."""
