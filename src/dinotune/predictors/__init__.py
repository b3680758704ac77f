"""Trained models for use: a predictor per task, with the same verbs."""
