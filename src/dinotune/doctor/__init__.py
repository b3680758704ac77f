"""Whether this machine can train: facts are collected, rules turn them into findings. Loads no torch itself."""
