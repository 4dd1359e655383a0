from collections.abc import Callable
from typing import Any

import pytest

from posetask.spec import PoseTaskSpec, Reason
from posetask_operator.core.layout import Layout, Problem, resolve
from posetask_operator.core.names import run_record
from posetask_operator.core.observed import TaskSeen
from posetask_operator.core.topics import run_topics
from posetask_operator.settings import Settings

FACES = {"image": "faces:1", "port": 8110, "inputs": ["raw_frames"], "output": "faces", "gpus": 1}


def spec(**given: Any) -> PoseTaskSpec:
    return PoseTaskSpec.model_validate({"source": {"uri": "synth:frames=100"}} | given)


def laid(found: Layout | Problem) -> Layout:
    assert isinstance(found, Layout), found
    return found


def test_the_five_stages_are_one_job_each(settings: Settings) -> None:
    layout = laid(resolve(spec(), "lab", settings))
    assert [s.name for s in layout.stages] == ["producer", "yolox", "rtmpose", "bytetrack", "annotator"]
    assert layout.gpus == 2
    assert layout.topics == {"raw_frames": 1, "yolox": 1, "rtmpose": 1, "bytetrack": 1}
    assert layout.readers == ("yolox", "rtmpose", "annotator")
    assert [s.name for s in layout.sinks] == ["annotator"]


def test_replicas_are_partitions_of_what_scales(settings: Settings) -> None:
    layout = laid(resolve(spec(stages=[{"name": "yolox", "replicas": 3}]), "lab", settings))
    assert layout.topics == {"raw_frames": 3, "yolox": 3, "rtmpose": 3, "bytetrack": 1}
    assert layout.gpus == 4


def test_a_fused_task_is_one_job_with_one_gpu_and_no_topics(settings: Settings) -> None:
    layout = laid(resolve(spec(execution={"mode": "Fused"}), "lab", settings))
    assert [s.name for s in layout.stages] == ["fused"]
    assert (layout.gpus, layout.topics) == (1, {})
    assert [s.name for s in layout.sinks] == ["fused"]


def test_a_profile_without_accelerators_asks_for_none(settings: Settings) -> None:
    assert laid(resolve(spec(scheduling={"profile": "cpu"}), "lab", settings)).gpus == 0


def test_a_stage_that_is_not_required_holds_nothing(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(stages={"faces": FACES})
    loose = laid(resolve(spec(stages=[{"name": "faces", "required": False}]), "lab", settings))
    assert "faces" not in loose.readers
    assert [s.name for s in loose.sinks] == ["annotator"]
    bound = laid(resolve(spec(stages=[{"name": "faces"}]), "lab", settings))
    assert "faces" in bound.readers
    assert [s.name for s in bound.sinks] == ["annotator", "faces"]


@pytest.mark.parametrize(
    ("given", "reason", "said"),
    [
        ({"stages": [{"name": "faces"}]}, Reason.UNKNOWN_STAGE, "no type 'faces'"),
        ({"stages": [{"name": "x", "type": "fused"}]}, Reason.UNKNOWN_STAGE, "no type 'fused'"),
        ({"stages": [{"name": "x", "type": "yolox"}]}, Reason.UNKNOWN_INPUT, "both write yolox"),
        ({"stages": [{"name": "rtmpose", "inputs": ["poses"]}]}, Reason.UNKNOWN_INPUT, "'poses'"),
        ({"stages": [{"name": "yolox", "inputs": ["yolox"]}]}, Reason.UNKNOWN_INPUT, "no other writes"),
        ({"stages": [{"name": "bytetrack", "model": "m"}]}, Reason.INVALID_PARAMETERS, "takes none"),
        (
            {"stages": [{"name": "yolox", "parameters": {"score_threshold": "7"}}]},
            Reason.INVALID_PARAMETERS,
            "more than 0.99",
        ),
        (
            {"stages": [{"name": "yolox", "accelerator": {"type": "amd.com/gpu"}}]},
            Reason.INVALID_PARAMETERS,
            "amd.com/gpu",
        ),
        ({"scheduling": {"profile": "a100"}}, Reason.UNKNOWN_PROFILE, "there are cpu, default"),
        ({"source": {"uri": "s3://other/a.mp4"}}, Reason.SOURCE_NOT_ALLOWED, "s3://uploads/"),
        ({"source": {"uri": "s3://uploads/../b.mp4"}}, Reason.SOURCE_NOT_ALLOWED, "outside"),
        ({"source": {"uri": "synth:people=-1"}}, Reason.INVALID_PARAMETERS, "source.uri"),
        ({"output": {"uri": "s3://other/"}}, Reason.OUTPUT_NOT_ALLOWED, "s3://out/"),
    ],
)
def test_what_only_the_user_can_mend_is_final_and_named(
    settings: Settings, given: dict[str, Any], reason: Reason, said: str
) -> None:
    found = resolve(spec(**given), "lab", settings)
    assert isinstance(found, Problem)
    assert (found.reason, found.final) == (reason, True)
    assert said in found.message


def test_a_model_that_the_catalogue_lacks_is_named(make_settings: Callable[..., Settings]) -> None:
    faces = FACES | {"takes_model": True, "models": ["retina"]}
    settings = make_settings(stages={"faces": faces})
    found = resolve(spec(stages=[{"name": "faces", "model": "none"}]), "lab", settings)
    assert isinstance(found, Problem)
    assert found.reason == Reason.UNKNOWN_MODEL
    assert "retina" in found.message


def test_a_fused_task_takes_no_stages_of_others(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(stages={"faces": FACES})
    found = resolve(spec(stages=[{"name": "faces"}], execution={"mode": "Fused"}), "lab", settings)
    assert isinstance(found, Problem)
    assert "take mode Distributed" in found.message


def test_a_namespace_that_is_not_enabled_waits(make_settings: Callable[..., Settings]) -> None:
    found = resolve(spec(), "lab", make_settings(storage={"root": "s3://results", "default": None}))
    assert isinstance(found, Problem)
    assert (found.reason, found.final) == (Reason.NAMESPACE_NOT_ENABLED, False)


def test_the_record_names_all_that_there_is_to_take_away(
    settings: Settings, make_task: Callable[..., TaskSeen]
) -> None:
    task = make_task()
    record = run_record(task, laid(resolve(spec(), "lab", settings)), settings)
    assert record.run == "demo-1f2e3d4c"
    assert record.topics == tuple(
        f"{topic}_demo-1f2e3d4c" for topic in ("raw_frames", "yolox", "rtmpose", "bytetrack")
    )
    assert "producer_demo-1f2e3d4c" not in record.groups
    assert record.stages == ("producer", "yolox", "rtmpose", "bytetrack", "annotator")


def test_results_are_kept_for_deadline_and_clean_up(settings: Settings) -> None:
    asked = spec(deadlines={"activeSeconds": 1000}, cleanup={"topicsAfterSeconds": 50})
    topics = run_topics(asked, laid(resolve(asked, "lab", settings)), "demo-1f2e3d4c", settings)
    kept = {t.name.split("_demo")[0]: t.config["retention.ms"] for t in topics}
    assert kept["yolox"] == str((1000 + 50 + settings.timings.result_margin) * 1000)
    assert kept["raw_frames"] == "600000"
