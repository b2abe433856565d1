"""Benchmarks of the trainer (`bench.compare`), the rewards and the sandbox."""
