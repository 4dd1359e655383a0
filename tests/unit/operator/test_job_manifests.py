import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posetask.runtime.stagespec import StageProcessSpec
from posetask_operator.core.jobs import job
from posetask_operator.core.layout import Layout, resolve
from posetask_operator.core.names import job_name
from posetask_operator.core.observed import TaskSeen
from posetask_operator.settings import Settings

Manifests = dict[str, dict[str, Any]]


def manifests(task: TaskSeen, settings: Settings, attempt: int = 1) -> Manifests:
    assert task.spec is not None
    layout = resolve(task.spec, task.namespace, settings)
    assert isinstance(layout, Layout), layout
    return {s.name: job(task, task.spec, layout, s, attempt, settings) for s in layout.stages}


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


def variables(manifest: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e["value"] for e in container(manifest)["env"] if "value" in e}


def test_jobs_are_owned_named_and_labelled(settings: Settings, make_task: Callable[..., TaskSeen]) -> None:
    made = manifests(make_task(), settings, attempt=2)["yolox"]
    assert made["metadata"]["name"] == "demo-1f2e3d4c-yolox-2"
    assert made["metadata"]["ownerReferences"][0]["uid"].startswith("1f2e3d4c")
    assert made["metadata"]["ownerReferences"][0]["controller"] is True
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["posetask.io/attempt"] == "2"
    assert labels["posetask.io/run"] == "demo-1f2e3d4c"


def test_jobs_leave_deadlines_ttl_and_suspension_to_the_plan(
    settings: Settings, make_task: Callable[..., TaskSeen]
) -> None:
    for made in manifests(make_task(), settings).values():
        spec = made["spec"]
        assert not {"ttlSecondsAfterFinished", "activeDeadlineSeconds", "suspend"} & set(spec)
        assert spec["podReplacementPolicy"] == "Failed"
        fail, ignore = spec["podFailurePolicy"]["rules"]
        assert fail["onExitCodes"]["values"] == [20, 21, 22, 23, 24, 25, 26]
        assert ignore["onPodConditions"][0]["type"] == "DisruptionTarget"
        assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_pods_meet_the_restricted_standard_and_have_no_token(
    settings: Settings, make_task: Callable[..., TaskSeen]
) -> None:
    for made in manifests(make_task(), settings).values():
        pod, one = made["spec"]["template"]["spec"], container(made)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("mode", ["Distributed", "Fused"])
def test_a_stages_process_reads_its_environment(
    settings: Settings, make_task: Callable[..., TaskSeen], mode: str
) -> None:
    body = {"execution": {"mode": mode}, "source": {"uri": "synth:frames=9", "sampling": {"everyN": 2}}}
    for name, made in manifests(make_task(body), settings).items():
        read = StageProcessSpec.load(None, variables(made), stage=name)
        assert read.run == "demo-1f2e3d4c"
        assert read.window_readers == ("yolox", "rtmpose", "annotator")
        if name in {"producer", "annotator", "fused"}:
            assert read.source == "synth:frames=9"
        if name in {"producer", "bytetrack"}:
            assert read.parameters["every_n"] == 2
        if name in {"annotator", "fused"}:
            assert variables(made)["POSETASK_STAGE_OUTPUT"] == "s3://results/lab/demo-1f2e3d4c/demo.mp4"
            assert read.formats == ("parquet",)


def test_replicas_are_told_apart_by_their_index(
    settings: Settings, make_task: Callable[..., TaskSeen]
) -> None:
    made = manifests(make_task({"stages": [{"name": "yolox", "replicas": 2}]}), settings)["yolox"]
    assert (made["spec"]["completions"], made["spec"]["parallelism"]) == (2, 2)
    assert variables(made)["POSETASK_STAGE_REPLICAS"] == "2"
    index = next(e for e in container(made)["env"] if e["name"] == "POSETASK_STAGE_REPLICA")
    assert "job-completion-index" in index["valueFrom"]["fieldRef"]["fieldPath"]


def test_a_task_may_ask_for_more_of_a_node_within_its_profile(
    settings: Settings, make_task: Callable[..., TaskSeen]
) -> None:
    stage = {"name": "yolox", "resources": {"memory": "8Gi"}, "accelerator": {"count": 2}}
    resources = container(manifests(make_task({"stages": [stage]}), settings)["yolox"])["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == "8Gi"
    assert resources["limits"]["nvidia.com/gpu"] == "2"
    assert "cpu" not in resources["limits"]


def test_places_and_secrets_come_from_the_administrator(
    make_settings: Callable[..., Settings], make_task: Callable[..., TaskSeen]
) -> None:
    profile = {
        "gpus": 4,
        "accelerator": "nvidia.com/gpu",
        "node_selector": {"gpu": "a100"},
        "tolerations": [{"key": "gpu"}],
        "runtime_class": "nvidia",
        "priority_class": "batch",
    }
    grant = {"sources": ["s3://uploads/"], "secrets": [{"name": "s3-key"}]}
    settings = make_settings(
        profiles={"default": profile},
        kafka={"secret": "kafka-user"},
        storage={"root": "s3://results", "default": grant},
    )
    made = manifests(make_task(), settings)
    pod = made["yolox"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"gpu": "a100"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert (pod["runtimeClassName"], pod["priorityClassName"]) == ("nvidia", "batch")
    assert "s3-key" not in json.dumps(made["yolox"])
    assert container(made["annotator"])["envFrom"] == [{"secretRef": {"name": "s3-key"}}]
    mounted = variables(made["yolox"])["POSETASK_KAFKA_SECRETS"]
    assert {"name": "secret-kafka-user", "mountPath": mounted, "readOnly": True} in container(made["yolox"])[
        "volumeMounts"
    ]


@given(
    name=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True),
    stage=st.from_regex(r"[a-z]([a-z0-9-]{0,22}[a-z0-9])?", fullmatch=True),
    attempt=st.integers(1, 999),
)
def test_job_names_are_legal_and_told_apart(name: str, stage: str, attempt: int) -> None:
    run = f"{name}-1f2e3d4c"
    made = job_name(run, stage, attempt)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", made)
    assert len(made) <= 57
    assert made != job_name(run, stage, attempt + 1)
    assert made == job_name(run, stage, attempt)
