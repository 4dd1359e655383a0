"""A live source over a real broker: it never waits, what it drops is counted, and it goes on where it was."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from posetask.media.inputs import open_source, resolve
from posetask.messages import EndOfStream
from posetask.stages.base import StageContext
from posetask.stages.producer import ProducerParameters, ProducerStage
from posetask.transport import Window
from posetask.transport.kafka.bus import KafkaBus
from posetask.transport.kafka.names import topic_name
from posetask.transport.kafka.settings import KafkaSettings
from posetask.transport.kafka.topics import TopicAdmin, TopicSpec, raw_config

pytestmark = pytest.mark.kafka
WINDOWS = {"raw_frames": ("annotator",)}


def camera(clip: Path, run: str) -> ProducerStage:
    return ProducerStage(ProducerParameters(), StageContext(run), open_source(resolve(clip)[0]))


def test_a_live_source_drops_at_a_full_window_counts_and_numbers_without_gaps(
    broker: Any, red_clip: Path, run: str
) -> None:
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    admin, name = TopicAdmin(settings), topic_name("raw_frames", run)
    admin.create([TopicSpec(name, 1, raw_config())])
    with closing(open_live(settings, run, Window(records=8, at_least=1))) as bus:
        writer, stage = bus.writer("raw_frames"), camera(red_clip, run)
        with closing(open_live(settings, run)) as other:
            reader: Any = other.reader("raw_frames", "annotator")
            seen = 0

            def full() -> bool:
                nonlocal seen
                seen += 1
                if seen == 21:  # the reader is back, and takes five
                    for _ in range(5):
                        reader.commit(reader.get(30).header.index)
                    reader.settle()
                    deadline = time.monotonic() + 30
                    while writer.is_full() and time.monotonic() < deadline:
                        time.sleep(0.02)
                return writer.is_full()

            stage.follow(0, full)
            published = []
            for frame in stage.produce():
                writer.put(frame)
                published.append(frame.header)
            writer.put(EndOfStream(len(published), stage.report))
            writer.flush()
            got = []
            while not isinstance(record := reader.get(30), EndOfStream):
                got.append(record.header)
    stage.close()
    admin.delete([name])
    assert [header.index for header in published] == list(range(13))
    assert [header.dropped_before for header in published] == [0] * 8 + [12] + [0] * 4
    assert got == published[5:]
    step = published[1].pts - published[0].pts
    assert published[8].pts == published[7].pts + 13 * step, "times are the source's own"
    assert stage.dropped == 12 + 15
    assert stage.facts()["dropped"] + len(published) == record.report.frames_decoded == 40


def test_a_live_source_that_is_started_anew_goes_on_with_the_next_number(
    broker: Any, red_clip: Path, run: str
) -> None:
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    admin, name = TopicAdmin(settings), topic_name("raw_frames", run)
    admin.create([TopicSpec(name, 1, raw_config())])
    for begin in (0, 3):
        with closing(open_live(settings, run)) as bus:
            writer, stage = bus.writer("raw_frames"), camera(red_clip, run)
            assert writer.next_index == begin
            stage.follow(writer.next_index, writer.is_full)
            for frame in stage.produce():
                writer.put(frame)
                if frame.header.index == begin + 2:
                    break
            writer.flush()
            stage.close()
    with closing(open_live(settings, run)) as bus:
        reader: Any = bus.reader("raw_frames", "annotator")
        assert [reader.get(30).header.index for _ in range(6)] == list(range(6))
    admin.delete([name])


def open_live(settings: KafkaSettings, run: str, window: Window | None = None) -> KafkaBus:
    return KafkaBus(settings, run, windows=WINDOWS, window=window, again=False)
