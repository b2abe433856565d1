"""Speed beside TRL's GRPOTrainer on the same machine, the same weights, tasks and rewards.

`python -m bench.compare --model runs/toy-base/model`
"""
