"""The stages around reinforcement learning, each a command with its own recipe.

    sft        supervised training: pretraining, fine-tuning, reward models
    sample     rejection sampling from a policy
    distill    rows from the replies of a teacher behind an API
    clean      filters and edits of reasoning rows
    export     a finished run as a model for others
    profile    where the time of a GRPO step goes
    pipeline   chains of stages: `rlvr r1` and `rlvr ablate`

`X_stage.py` defines STAGE (rlvr.run.stage_protocol), `X_config.py` the recipe's schema; neither
imports anything heavy. Rows pass from stage to stage as JSON lines (rlvr.data.samples).
"""
