"""Clean samples: drop unfit ones with a reason, and tag or edit the rest.

passes         the passes of a recipe: options and functions; run by rlvr.stages.clean
filters        reasons to drop one sample, shared with rejection sampling
overlap        duplicates, and prompts that overlap with an evaluation set
domains        the domain of a question, by keywords
prompt_edits   layout, system message, caption and distractors of a prompt
"""
