"""Another model behind an OpenAI-compatible address: asked many times at once, patiently.

    async with Teacher(config.teacher) as teacher:
        reply = await teacher.ask([{"role": "user", "content": "2+3?"}], config.sampling)
        reply.reasoning_content, reply.content, reply.problem    # "2 and 3 ...", "5", None

Several addresses share the calls by weight and take over for each other; a call that fails is made
again a bounded number of times. Keys come from the environment and go nowhere but into the header.

    keys        the one place that reads them, and takes them out of texts
    endpoint    one address: may it be called now, how is it doing (no network)
    pool        several: which is called next, who waits
    calls       one call over the network -> its JSON, or why not
    replies     a message -> thought and answer, or why it is no whole reply
    client      Teacher
    parallel    many questions at a time, results as they come
"""

from __future__ import annotations

from rlvr.data.chat_messages import Answer, read_message
from rlvr.teacher.client import NoReply, Refused, Reply, Teacher
from rlvr.teacher.endpoint import NoEndpointLeft
from rlvr.teacher.keys import check_endpoints
from rlvr.teacher.parallel import in_parallel
from rlvr.teacher.text_lengths import Usage

__all__ = [
    "Answer",
    "NoEndpointLeft",
    "NoReply",
    "Refused",
    "Reply",
    "Teacher",
    "Usage",
    "check_endpoints",
    "in_parallel",
    "read_message",
]
