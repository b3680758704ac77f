"""Object detection: boxes from model to user, and what they are worth."""
