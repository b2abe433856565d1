"""Chains of stages, run as one plan that resumes: `rlvr r1` and `rlvr ablate`.

pipeline_config    the recipe: steps, each a command with its recipe and overrides
pipeline_plan      recipe -> steps with their folders; which are done, stale or missing
pipeline_command   the commands: print the plan, run each step in its own process
"""
