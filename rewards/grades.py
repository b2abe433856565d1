from rewards.reward import Grade, Outcome, RewardResult

__all__ = ["Grade", "Outcome", "RewardResult"]
