"""A model of a run behind an OpenAI-compatible address, by vLLM's own server.

rlvr serve --> application --> Ray Serve --> replica --> vLLM's api_server
                  |                             jinja_template  a recipe's prompt template in Jinja
                  |                             think_parser    thought | answer, where vLLM cannot
               router: A/B split, cache at temperature 0, /metrics --> arm: its replicas in turns
rlvr chat  --> any such address

served(model_path) -> base_url, for a stage that needs a model behind an address for a while
"""

from __future__ import annotations

from rlvr.serving.vllm_server import served

__all__ = ["served"]
