"""The topics of a task: how many partitions, how long they are kept."""

from __future__ import annotations

from posetask.spec import PoseTaskSpec
from posetask.transport.kafka.names import topic_name
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicSpec, raw_config, result_config
from posetask_operator.core.layout import RAW_FRAMES, Layout
from posetask_operator.settings import Settings

_MESSAGE_BYTES: int = KafkaSettings.model_fields["message_bytes"].default


def run_topics(spec: PoseTaskSpec, layout: Layout, run: str, settings: Settings) -> tuple[TopicSpec, ...]:
    """One for each stage that writes; none for a Fused task.

    Results are kept for as long as the task may be active, and may lie before its clean-up, and a margin;
    the budget in bytes is what bounds them.
    """
    kafka, timings = settings.kafka, settings.timings
    keep = spec.deadlines.active_seconds + spec.cleanup.topics_after_seconds + timings.result_margin
    raw = raw_config(message_bytes=_MESSAGE_BYTES, segment_bytes=kafka.raw_segment_bytes)
    kept = result_config(keep_seconds=keep, nbytes=kafka.result_bytes, message_bytes=_MESSAGE_BYTES)
    return tuple(
        TopicSpec(topic_name(topic, run), partitions, raw if topic == RAW_FRAMES else kept, kafka.replication)
        for topic, partitions in layout.topics.items()
    )
