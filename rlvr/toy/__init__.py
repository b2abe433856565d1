"""A small world to learn in: problems, text, tokenizer and base model, all from a seed.

    problems --> corpus --> tokenizer --> base (SFTTrainer on plain text) --> GRPO on problems

Held-out problems are split off by a hash of the problem itself, before any text is written, so
that no document, worked example or training task can hold one.
"""
