"""Making rows of thoughts and answers fit to train on: what is dropped, what is added, and why.

row_text       what a row says, in whichever columns      row_form    is it of the right form?
filters        what one thought must keep                 steps       a thought in its steps
repetition     how much of a text comes again             duplicates  rows that say the same
contamination  is a prompt one of an evaluation set?      domains     what a row is about
layout         prompts and traces of context and steps    distractors sentences that mislead
passes         a recipe's list of all these as functions; stages/clean.py runs them
"""
