"""`rlvr replay`: train the stored batch of a step again, by the learner alone, and compare.

replay_config     the recipe: that of the run, and the step
replay_stage      the command
stored_step       batch, checkpoint and metrics of the step on disk
replay_run        start the learner, take the step
step_comparison   stored and replayed numbers as a table
"""
