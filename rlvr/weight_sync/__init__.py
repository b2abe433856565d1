"""Transfer of new weights from the learner to the engines, and its verification.

sync               one weight sync with its two checks
packed_weights     named tensors in one buffer with a digest
"""
