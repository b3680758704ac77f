"""Class list: a table of pictures with the class of each, `SPLIT.csv` or `SPLIT.txt`."""
