"""A model of a run behind an OpenAI-compatible address, by vLLM's own server.

rlvr serve --> supervisor --> vLLM's api_server, one process a replica
                  |              jinja_template  the recipe's prompt template in Jinja
                  |              think_parser    thought | answer, where vLLM's parsers cannot
               router: round robin, A/B split, cache at temperature 0, /metrics
rlvr chat  --> any such address

served(model_path) -> base_url, for a stage that needs a model behind an address for a while
"""

from __future__ import annotations

from rlvr.serving.vllm_server import served

__all__ = ["served"]
