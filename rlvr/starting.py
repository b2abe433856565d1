"""Actors and tokenizer of a run, started at the same time."""

from __future__ import annotations

import asyncio

from rlvr.cluster import Cluster
from rlvr.config import WriterConfig
from rlvr.crew import Crew, start_crew
from rlvr.encoding import TemplateEncoder, make_encoder
from rlvr.inputs import Inputs
from rlvr.model_files import resolve_model
from rlvr.run_folder import RunFolder
from rlvr.stopping import in_daemon_thread

__all__ = ["start_run"]


async def start_run(
    config: WriterConfig, folder: RunFolder, inputs: Inputs, cluster: Cluster
) -> tuple[Crew, TemplateEncoder]:
    """Returns when all of it stands; of two errors the tokenizer's, which names a key.

    Raises:
        ConfigError: a tokenizer that is not there, a prompt that is too long.
        ActorDied: an actor that does not come up.
    """
    starting = asyncio.create_task(
        start_crew(
            config,
            cluster,
            model_path=resolve_model(config.model.path),
            logs=folder.logs,
            rewards=inputs.rewards,
        )
    )
    encoder = await in_daemon_thread(lambda: make_encoder(config, inputs))
    return await starting, encoder
