"""Rewards that compare an answer with its row: choices, texts, JSON, numbers, programs, judges."""
