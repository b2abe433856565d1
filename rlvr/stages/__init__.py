"""The stages around reinforcement learning; here supervised fine-tuning."""
