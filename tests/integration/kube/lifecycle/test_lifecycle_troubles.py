"""What goes wrong is said in the status: a reason, the values, and what to do next."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.kafka, pytest.mark.timeout(240)]


WAIT_FOR_YOLOX = frozenset({"rtmpose", "bytetrack", "annotator"})


def part(**how: Any) -> Any:
    from operatorkit.player import Part

    return Part(**how)


def failure(code: int, reason: str, *, retryable: bool = False) -> Any:
    from posetask.runtime.reports import Failure

    return Failure(
        reason=reason, message="so it was told", hint="try another", retryable=retryable, exit_code=code
    )


@pytest.mark.parametrize(
    ("spec", "reason", "named"),
    [
        ({"stages": [{"name": "faces", "type": "lab-faces"}]}, "UnknownStage", "lab-faces"),
        ({"stages": [{"name": "yolox", "parameters": {"colour": 1}}]}, "InvalidParameters", "colour"),
        ({"scheduling": {"profile": "huge"}}, "UnknownProfile", "huge"),
        ({"source": {"uri": "https://example.org/a.mp4"}}, "SourceNotAllowed", "example.org"),
        ({"source": {"uri": "synth:people=many"}}, "InvalidParameters", "people"),
        ({"output": {"uri": "s3://elsewhere/a"}}, "OutputNotAllowed", "elsewhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_run_fails_at_once_and_makes_nothing(
    shared_site: Any, spec: Any, reason: str, named: str
) -> None:
    site = shared_site
    name = f"bad-{len(site.tasks())}"
    site.apply(name, **spec)
    status = site.wait_state("Failed", name)
    found = site.condition("Succeeded", name)
    assert (found["status"], found["reason"]) == ("False", reason)
    assert named in found["message"]
    assert found["resolution"]
    assert status["reason"] == reason
    site.empty(status["run"])


@pytest.mark.slow
def test_a_missing_secret_is_named_and_its_task_waits_for_it(make_site: Any) -> None:
    grant = {"service_account": "default", "secrets": [{"name": "bucket"}]}
    site = make_site(storage={"root": "s3://results", "default": grant}, timings={"recheck": 5})
    site.apply()
    site.wait("it says so", lambda: site.condition("Admitted").get("reason") == "SecretMissing")
    found = site.condition("Admitted")
    assert "bucket" in found["message"]
    assert found["resolution"]
    assert site.jobs(site.status()["run"]) == []
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bucket"}, "stringData": {"a": "b"}}
    site.api.create("secrets", site.namespace, secret)
    site.wait_state("Succeeded")
    site.wait_clean()


@pytest.mark.slow
def test_an_image_that_is_missing_is_said_and_the_task_gives_its_place_back(site: Any) -> None:
    site.parts["demo"] = part(gang=99)  # nobody plays
    waiting = {"metadata": {"annotations": {"fake.posetask.io/waiting": "ImagePullBackOff"}}}
    # What a kubelet would say of a pod that kwok has made ready long before.
    site.apply(scheduling={"readyTimeoutSeconds": 10})
    run = site.wait("pods", lambda: site.pods(site.status().get("run", "none")) and site.status()["run"])
    for pod in site.pods(run):
        if pod["metadata"]["labels"]["posetask.io/stage"] == "yolox":
            name = pod["metadata"]["name"]
            site.api.patch("v1", "pods", site.namespace, name, waiting)
            broken = {
                "status": {
                    "phase": "Pending",
                    "conditions": [
                        {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
                        {"type": "ContainersReady", "status": "False", "reason": "ContainersNotReady"},
                    ],
                    "containerStatuses": [
                        {
                            "name": "stage",
                            "image": "none",
                            "imageID": "",
                            "ready": False,
                            "restartCount": 0,
                            "state": {
                                "waiting": {"reason": "ImagePullBackOff", "message": "no such image: none"}
                            },
                        }
                    ],
                }
            }
            site.api.patch("v1", "pods", site.namespace, name, broken, subresource="status")
    site.wait("it says so", lambda: site.condition("Running").get("reason") == "ImageMissing")
    assert "no such image" in site.condition("Running")["message"]
    site.wait("it gives its place back", lambda: site.status().get("readyTimeouts") == 1)
    site.wait("its pods are gone", lambda: site.pods(run) == [] or site.status()["attempt"] > 1)


@pytest.mark.slow
def test_an_error_of_the_users_making_is_not_tried_again(site: Any) -> None:
    site.parts["demo"] = part(failures={"producer": (failure(20, "NotAVideo"),)})
    site.apply(retries=2)
    status = site.wait_state("Failed")
    found = site.condition("Succeeded")
    assert found["reason"] == "NotAVideo"
    assert "so it was told" in found["message"]
    assert found["resolution"]
    assert status["attempt"] == 1
    assert next(s for s in status["stages"] if s["name"] == "producer")["lastExitCode"] == 20
    site.wait_clean()


@pytest.mark.slow
def test_what_another_attempt_can_mend_is_tried_again(make_site: Any) -> None:
    site = make_site(pod_failures=0, timings={"retry_base": 3})
    away = failure(30, "Unavailable", retryable=True)
    site.parts["demo"] = part(failures={"yolox": (away,)}, holds=WAIT_FOR_YOLOX)
    site.apply(retries=1)
    site.wait("it is tried again", lambda: site.status().get("retries") == 1)
    site.parts["demo"] = part()
    status = site.wait_state("Succeeded")
    assert (status["attempt"], status["retries"]) == (2, 1)
    site.wait_clean()


@pytest.mark.slow
def test_attempts_are_bounded(make_site: Any) -> None:
    site = make_site(pod_failures=0)
    away = failure(30, "Unavailable", retryable=True)
    site.parts["demo"] = part(failures={"yolox": (away, away, away)}, holds=WAIT_FOR_YOLOX)
    site.apply(retries=1)
    status = site.wait_state("Failed")
    assert (status["attempt"], status["retries"]) == (2, 1)
    assert "so it was told" in site.condition("Succeeded")["message"]
    site.wait_clean()


@pytest.mark.slow
def test_a_task_without_frames_is_given_up(site: Any) -> None:
    site.parts["demo"] = part(holds=frozenset({"*"}), words=0)
    site.apply(deadlines={"noFramesSeconds": 2})
    site.wait_state("Failed")
    assert site.condition("Succeeded")["reason"] == "NoFrames"
    site.wait_clean()


@pytest.mark.slow
def test_a_task_that_runs_too_long_is_ended(site: Any) -> None:
    site.parts["demo"] = part(holds=frozenset({"*"}))
    site.apply(deadlines={"activeSeconds": 5})
    site.wait_state("Failed")
    assert site.condition("Succeeded")["reason"] == "DeadlineExceeded"
    site.wait_clean()


def test_a_queue_tells_positions_and_moves_on(make_site: Any) -> None:
    site = make_site(gpus=2, timings={"queue_every": 1})
    site.parts["a"] = part(holds=frozenset({"*"}))
    site.apply("a")
    site.wait_state("Running", "a")
    site.apply("b")
    site.wait("b is next", lambda: site.status("b").get("queue", {}).get("position") == 1)
    site.apply("c")
    site.wait("c stands behind it", lambda: site.status("c").get("queue", {}).get("position") == 2)
    assert "2 GPUs" in site.status("b")["queue"]["reason"]
    assert site.condition("Admitted", "b")["reason"] == "WaitingForGPUs"
    assert site.jobs(site.status("b")["run"]) == [], "who waits holds nothing"
    site.patch("a", {"cancel": True})
    first = site.wait_state("Succeeded", "b")
    second = site.wait_state("Succeeded", "c")
    assert "queue" not in first
    assert "queue" not in second
    for name in ("a", "b", "c"):
        site.wait_clean(name)


@pytest.mark.slow
def test_a_job_of_a_stranger_with_our_name_is_not_taken_over(site: Any) -> None:
    site.parts["demo"] = part(gang=99)
    made = site.apply(suspend=True)
    name = f"demo-{made['metadata']['uid'][:8]}-yolox-1"
    pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "none"}]}
    stranger = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }
    site.api.create("jobs", site.namespace, stranger)
    site.patch("demo", {"suspend": False})
    site.wait("it says so", lambda: site.condition("JobsCreated").get("reason") == "NameTaken")
    assert name in site.condition("JobsCreated")["message"]
    site.api.delete("batch/v1", "jobs", site.namespace, name)
    site.parts["demo"] = part()
    site.wait_state("Succeeded", seconds=90)
