"""From a bare folder of one's own pictures to an experiment that suits them. Loads no torch."""
