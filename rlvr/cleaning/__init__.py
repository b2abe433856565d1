"""Making rows of thoughts and answers fit to train on: what is dropped, what is added, and why.

contamination  is a prompt one of an evaluation set?      filters     what one thought must keep
repetition     how much of a text comes again             duplicates  rows that say the same
steps          a thought in its steps                     domains     what a row is about
"""
