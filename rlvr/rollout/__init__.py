"""Writing completions: the vLLM engine actor and the pool of engines."""
