"""Settings of each kind of head."""
