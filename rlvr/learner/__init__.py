"""Changing the weights: the DeepSpeed learner actor, its optimizer and its DeepSpeed
configuration.
"""
