"""Chains of stages, run as one plan that resumes: `rlvr r1` and `rlvr ablate`.

pipeline_config    the recipe: steps, each a command with its recipe and overrides
pipeline_command   the commands: plan the steps, print their states, run each in its own process
"""
