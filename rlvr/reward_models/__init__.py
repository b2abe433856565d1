"""Reward models trained from preferences.

preference_model    score texts with a reward model
preference_reward   rewards that call it: preference, harmlessness
"""
