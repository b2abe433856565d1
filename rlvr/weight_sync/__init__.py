"""How new weights get from the learner into the engines, and the proofs that they arrived."""
