"""Rewards of form and length, and of language."""
