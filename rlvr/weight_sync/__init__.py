"""Transfer of new weights from the learner to the engines, and its verification.

sync               one weight sync with its checks
packed_weights     named tensors in one buffer with a digest; their load into a vLLM worker
load_record        what a load wrote, and from which tensors
probe              the judgement over the log-probs of a fixed text
"""
