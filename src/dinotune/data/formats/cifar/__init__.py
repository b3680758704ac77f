"""CIFAR-10 and CIFAR-100 as their makers give them: arrays of pictures in pickled files."""
