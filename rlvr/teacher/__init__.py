"""Calls to another model behind OpenAI-compatible endpoints: many at once, retried and failed over.

    async with Teacher(config.teacher) as teacher:
        reply = await teacher.ask([{"role": "user", "content": "2+3?"}], config.sampling)
        reply.reasoning_content, reply.content, reply.problem    # "2 and 3 ...", "5", None

    teacher_config     recipe sections: endpoints, sampling, prompt, scoring
    client             Teacher, in_parallel: bounded concurrency, results as they complete
    endpoint_pool      a circuit breaker per endpoint; which one is called next
    teacher_prompts    a task's columns in a template -> chat messages

The HTTP client, which also reads and redacts the keys, is rewards.verifiers.chat_client.
"""

from __future__ import annotations

from rlvr.teacher.client import NoReply, Refused, Teacher, TeacherReply, Usage, in_parallel
from rlvr.teacher.endpoint_pool import NoEndpointLeft, check_endpoints

__all__ = [
    "NoEndpointLeft",
    "NoReply",
    "Refused",
    "Teacher",
    "TeacherReply",
    "Usage",
    "check_endpoints",
    "in_parallel",
]
