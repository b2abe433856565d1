"""Optimization of the policy with DeepSpeed.

losses              the losses of GRPO, Dr. GRPO and DAPO
logprobs            log-probs of completions without the whole [tokens, vocabulary] logits
cpu_linear          faster linear layers on a CPU
cpu_norm            faster norms on a CPU
deepspeed_engine    model, optimizer and configuration of one rank
deepspeed_learner   the actor of one rank
learner_group       all ranks as one
"""
