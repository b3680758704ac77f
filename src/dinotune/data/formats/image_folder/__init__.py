"""ImageFolder: a folder of pictures per class, `SPLIT/CLASS/*.jpg`."""
