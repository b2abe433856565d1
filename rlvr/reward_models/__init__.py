"""Reward models trained from preferences, as rewards."""
