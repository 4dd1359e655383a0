"""A run's topics as a service sees them: made on a first start, taken away after the end."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaException

from posetask.errors import PoseTaskError
from posetask.runtime.reports import process_key
from posetask.runtime.service.contract import StartRequest
from posetask.stages.base import Stage
from posetask.stages.names import PRODUCER, RAW_FRAMES
from posetask.transport.kafka.faults import fault
from posetask.transport.kafka.names import topic_name
from posetask.transport.kafka.progress import forget, progress_topic
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config, result_config

logger = logging.getLogger(__name__)

KEEP_SECONDS = 7 * 24 * 3600
"""Result topics of a run whose end nobody sees expire by then."""
_LIST_SECONDS = 10.0


def make_topics(settings: KafkaSettings, stage: type[Stage[Any]], request: StartRequest) -> None:
    """Make what ``stage`` reads and writes in this run, confirmed; what is there already is taken over.

    Every service of a run does it, in any order, and the same moment is fine.

    Raises:
        PoseTaskError: The brokers are away or refuse, or a topic has other partitions.
    """
    admin = TopicAdmin(settings)
    raw = raw_config(message_bytes=settings.message_bytes)
    kept = result_config(keep_seconds=KEEP_SECONDS, message_bytes=settings.message_bytes)
    names = [*stage.inputs, *([stage.output] if stage.output else [])]
    admin.create(
        [
            progress_topic(),
            *(
                TopicSpec(
                    topic_name(name, request.task_id),
                    request.partitions,
                    raw if name == RAW_FRAMES else kept,
                )
                for name in names
            ),
        ]
    )


def remove_run(settings: KafkaSettings, run: str) -> list[str]:
    """Delete all topics, groups and progress of a run, confirmed.

    Returns:
        The topics.

    Raises:
        PoseTaskError: The brokers are away, or deny it; trying again goes on where this stopped.
    """
    admin = TopicAdmin(settings)
    existing = admin.existing()
    topics = [name for name in existing if name.rpartition("_")[2] == run]
    groups = _groups_of(admin, run)
    admin.delete(topics)
    admin.delete_groups(groups)
    stages = {PRODUCER, *(group.rpartition("_")[0] for group in groups)}
    most = max((existing[topic] for topic in topics), default=1)
    forget(settings, run, sorted({process_key(s, i, n) for s in stages for n in {1, most} for i in range(n)}))
    logger.info("run %s: removed %s", run, ", ".join(sorted(topics)) or "nothing, its topics were gone")
    return topics


def brokers_answer(settings: KafkaSettings, seconds: float = 2.0) -> bool:
    """Whether a broker can be reached now."""
    try:
        TopicAdmin(settings).existing(seconds)
    except PoseTaskError:
        return False
    return True


def _groups_of(admin: TopicAdmin, run: str) -> list[str]:
    try:
        found = admin.client.list_consumer_groups(request_timeout=_LIST_SECONDS).result(_LIST_SECONDS + 5)
    except KafkaException as error:
        raise fault(error.args[0], "listing groups") from error
    # A stage's name has no underscore, and neither has a run's id.
    return [group.group_id for group in found.valid if group.group_id.rpartition("_")[2] == run]
