"""Supervised fine-tuning with TRL's SFTTrainer on DeepSpeed; with a scalar head, a reward model.

recipe --sft_config, sft_plan--> SftPlan --ranks--> one process per rank
  | examples      which rows of which files; a row of any form as an Example
  | row_encoding  text as at inference, token ids and labels
  v dataset       an Arrow file and its counts
training        trainer, trainer_run, training_memory; reward_model for a scalar head
  |
  v
runs/NAME/      model/ or adapter/  checkpoints/  metrics.jsonl  manifest.json  summary.json
"""
