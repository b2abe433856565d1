"""Serving a model behind an OpenAI-compatible address with vLLM's API server.

rlvr serve --> serve_command --> application (Ray Serve) --> router --> replica --> vllm_server
rlvr chat  --> chat_command --> thought_stream

serve_config    schemas, recipe of a folder        server_spec     command lines of the servers
router          OpenAI's paths, /metrics, /health  traffic         A/B split, cache, metrics
jinja_template  a recipe's prompt template         think_parser    vLLM plug-in: reasoning by tags

served(model_path) -> base_url: a server for a stage that needs one for a while
"""

from __future__ import annotations

from rlvr.serving.vllm_server import served

__all__ = ["served"]
