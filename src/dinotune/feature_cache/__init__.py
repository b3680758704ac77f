"""Feature cache: what the frozen part of a backbone makes of the pictures is computed once and kept on disk."""
