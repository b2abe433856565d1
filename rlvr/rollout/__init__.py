"""Generation with vLLM.

engine_requests   requests and specs; free of vLLM
engine            one vLLM engine in a Ray actor
engine_trace      what an engine records for `rlvr profile`
engine_pool       all engines as one
"""
