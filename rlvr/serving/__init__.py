"""Serving a model behind an OpenAI-compatible address with vLLM's API server.

rlvr serve --> serve_command --> application (Ray Serve) --> replica --> vllm_server
                                   router --> arm                          server_spec
               folder_recipe       reply_cache, traffic                    jinja_template
               serving_plan                                                think_parser
rlvr chat  --> chat_command --> conversation --> thought_stream

router          A/B split, cache, metrics          arm             the replicas of one model
serving_plan    recipe --> servers of each arm     server_spec     command line of one server
jinja_template  a recipe's prompt template         think_parser    vLLM plug-in: reasoning by tags
folder_recipe   recipe values of a model folder    thought_stream  reasoning and answer of a stream

served(model_path) -> base_url: a server for a stage that needs one for a while
"""

from __future__ import annotations

from rlvr.serving.vllm_server import served

__all__ = ["served"]
