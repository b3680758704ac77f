"""Classification of whole pictures: scores from model to user, and what they are worth."""
