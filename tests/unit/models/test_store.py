from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from posetask.errors import DownloadFailed, ModelCorrupt, ModelNotInstalled, StorageFull, UnknownModel
from posetask.models import folder as folder_module
from posetask.models import store as store_module
from posetask.models.catalogue import Catalogue, DetectorSpec, PoseSpec
from posetask.models.store import (
    DEMO,
    Store,
    installed,
    models_folder,
    pull,
    resolve_detector,
    resolve_pose,
    verify,
)

COMMON = {"width": 64, "height": 64, "colour": "BGR", "batch": "fixed", "classes": 3}


class Shop:
    """A catalogue whose models a server on this machine has, and a store for them."""

    def __init__(self, web, folder: Path, first: bytes, second: bytes, pose: bytes) -> None:
        self.web, self.bodies = web, {"known": first, "unknown": second, "pose": pose}
        self.digests = {name: hashlib.sha256(body).hexdigest() for name, body in self.bodies.items()}
        urls = {name: (web.serve(f"/{name}.onnx", body),) for name, body in self.bodies.items()}
        self.catalogue = Catalogue(
            (
                DetectorSpec(
                    name="known",
                    rank=1,
                    urls=urls["known"],
                    sha256=self.digests["known"],
                    recommended=True,
                    **COMMON,
                ),
                DetectorSpec(name="unknown", rank=2, urls=urls["unknown"], **COMMON),
                PoseSpec(
                    name="pose",
                    urls=urls["pose"],
                    sha256=self.digests["pose"],
                    recommended=True,
                    width=24,
                    height=32,
                    colour="RGB",
                    batch="dynamic",
                ),
            )
        )
        self.store = Store(folder, self.catalogue)

    def pull(self, *names: str, **options):
        return self.store.pull(names, allow_loopback_http=True, **options)


@pytest.fixture
def shop(web, tmp_path, make_yolox, make_pose) -> Shop:
    first, second, pose = make_yolox("a.onnx"), make_yolox("b.onnx", seed=1), make_pose("c.onnx")
    return Shop(web, tmp_path / "models", first.read_bytes(), second.read_bytes(), pose.read_bytes())


def names_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_pulling_puts_the_file_and_its_pin_in_place(shop):
    told = []
    (pulled,) = shop.pull("known", progress=lambda *a: told.append(a))
    assert (pulled.name, pulled.trust, pulled.fetched) == ("known", "catalogue", True)
    assert pulled.sha256 == shop.digests["known"]
    assert pulled.path.read_bytes() == shop.bodies["known"]
    assert names_in(shop.store.folder) == ["known.json", "known.onnx"]
    pin = json.loads((shop.store.folder / "known.json").read_text())
    assert pin["sha256"] == shop.digests["known"]
    assert pin["url"].endswith("/known.onnx")
    assert told[-1] == ("known", len(shop.bodies["known"]), len(shop.bodies["known"]))
    assert oct(pulled.path.stat().st_mode & 0o777) == "0o644"
    assert shop.store.installed() == ["known"]


def test_without_names_the_recommended_pair_comes(shop):
    assert [p.name for p in shop.pull()] == ["known", "pose"]


def test_what_is_here_and_right_is_not_fetched_again(shop):
    shop.pull("known")
    shop.web.asked.clear()
    (again,) = shop.pull("known")
    assert (again.fetched, again.sha256) == (False, shop.digests["known"])
    assert shop.web.asked == []
    assert shop.pull("known", force=True)[0].fetched


@pytest.mark.parametrize("damage", [b"", b"damaged"])
def test_a_damaged_file_is_fetched_again(shop, damage):
    shop.pull("known")
    shop.store.path("known").write_bytes(damage)
    assert [v.state for v in shop.store.verify()] == ["wrong"]
    assert shop.pull("known")[0].fetched
    assert [v.state for v in shop.store.verify(["known"])] == ["ok"]


def test_a_file_other_than_the_catalogues_is_not_installed(shop):
    shop.web.serve("/known.onnx", shop.bodies["unknown"])
    with pytest.raises(ModelCorrupt, match="expected " + shop.digests["known"]):
        shop.pull("known")
    with pytest.raises(ModelCorrupt):
        shop.pull("known", repin=True)  # the catalogue's digest is nobody's to change
    assert names_in(shop.store.folder) == []


def test_a_model_without_a_digest_is_trusted_once_and_then_pinned(shop):
    (pulled,) = shop.pull("unknown")
    assert (pulled.trust, pulled.sha256) == ("first-use", shop.digests["unknown"])
    assert shop.pull("unknown")[0].trust == "pinned"
    assert shop.pull("unknown", force=True)[0].trust == "pinned"
    shop.web.serve("/unknown.onnx", shop.bodies["known"])
    with pytest.raises(ModelCorrupt, match="--repin"):
        shop.pull("unknown", force=True)
    assert shop.store.path("unknown").read_bytes() == shop.bodies["unknown"]
    (repinned,) = shop.pull("unknown", repin=True)
    assert (repinned.trust, repinned.sha256) == ("first-use", shop.digests["known"])
    assert [v.state for v in shop.store.verify()] == ["ok"]


def test_mirrors_are_tried_in_turn(shop):
    spec = shop.catalogue.detector("known")
    urls = (shop.web.base + "/gone", *spec.urls)
    store = Store(shop.store.folder, Catalogue((spec.model_copy(update={"urls": urls}),)))
    assert store.pull(["known"], allow_loopback_http=True)[0].fetched
    assert shop.web.asked == ["/gone", "/known.onnx"]
    store = Store(shop.store.folder / "x", Catalogue((spec.model_copy(update={"urls": urls[:1] * 2}),)))
    with pytest.raises(DownloadFailed, match=r"known could not be fetched: .*404.*; .*404"):
        store.pull(["known"], allow_loopback_http=True)
    bare = Store(shop.store.folder / "y", Catalogue((spec.model_copy(update={"urls": ()}),)))
    with pytest.raises(DownloadFailed, match="no address"):
        bare.pull(["known"])


def test_an_unknown_name_fetches_nothing(shop):
    with pytest.raises(UnknownModel, match="nope"):
        shop.pull("known", "nope")
    assert shop.web.asked == []


def test_a_folder_that_cannot_be_made(shop, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadFailed, match="cannot write to"):
        Store(tmp_path / "file" / "models", shop.catalogue).pull(["known"], allow_loopback_http=True)


def test_a_full_disk_at_the_last_moment_leaves_nothing_half(shop, monkeypatch):
    shop.pull("known")
    real = os.replace

    def full(source, target):
        if str(target).endswith(".onnx"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(folder_module.os, "replace", full)
    with pytest.raises(StorageFull, match="no space left"):
        shop.pull("known", force=True)
    assert names_in(shop.store.folder) == ["known.json", "known.onnx"]
    assert [v.state for v in shop.store.verify()] == ["ok"]


def test_what_a_killed_pull_left_is_swept_up_a_day_later(shop):
    shop.store.folder.mkdir()
    old, new = (shop.store.folder / f".pull-{name}.tmp" for name in ("old", "new"))
    for left in (old, new):
        left.write_bytes(b"half a model")
    os.utime(old, (1, 1))
    shop.pull("known")
    assert names_in(shop.store.folder) == [".pull-new.tmp", "known.json", "known.onnx"]


def test_verifying_tells_every_state(shop):
    shop.pull("known", "unknown")
    assert [(v.name, v.state) for v in shop.store.verify()] == [("known", "ok"), ("unknown", "ok")]
    (shop.store.folder / "unknown.json").unlink()
    shop.store.path("known").write_bytes(b"other")
    states = {v.name: v for v in shop.store.verify(["known", "unknown", "pose"])}
    assert states["known"].state == "wrong"
    assert states["known"].expected == shop.digests["known"]
    assert states["known"].sha256 == hashlib.sha256(b"other").hexdigest()
    assert states["unknown"].state == "unpinned"
    assert (states["pose"].state, states["pose"].sha256) == ("missing", None)
    with pytest.raises(UnknownModel):
        shop.store.verify(["nope"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": "x"}', '{"a": 1}'])
def test_a_broken_pin_is_no_pin(shop, text):
    shop.pull("unknown")
    (shop.store.folder / "unknown.json").write_text(text)
    assert shop.store.pin("unknown") is None
    with pytest.raises(ModelCorrupt, match="no digest"):
        resolve_detector("unknown", store=shop.store)


def test_names_resolve_to_pulled_files(shop):
    shop.pull("known", "unknown", "pose")
    found = resolve_detector("known", store=shop.store)
    assert found.spec.name == "known"
    assert found.sha256 == shop.digests["known"]
    assert found.path == shop.store.path("known")
    assert resolve_detector("unknown", store=shop.store).sha256 == shop.digests["unknown"]
    assert resolve_pose("pose", store=shop.store).spec.keypoints == 17


def test_no_name_is_the_best_pulled_one(shop):
    with pytest.raises(ModelNotInstalled, match="no detector model") as caught:
        resolve_detector(store=shop.store)
    assert "posetask models pull" in caught.value.hint
    assert "--models demo" in caught.value.hint
    with pytest.raises(ModelNotInstalled, match="no pose model"):
        resolve_pose(store=shop.store)
    shop.pull("known", "pose")
    assert resolve_detector(store=shop.store).spec.name == "known"
    shop.pull("unknown")
    assert resolve_detector(store=shop.store).spec.name == "unknown"
    assert resolve_pose(store=shop.store).spec.name == "pose"


def test_a_known_model_that_is_not_here_says_how_to_get_it(shop):
    with pytest.raises(ModelNotInstalled, match="posetask models pull known"):
        resolve_detector("known", store=shop.store)


def test_what_is_neither_a_name_nor_a_file(shop, tmp_path):
    for resolve in (resolve_detector, resolve_pose):
        with pytest.raises(UnknownModel, match=r"neither.*posetask models list"):
            resolve(str(tmp_path / "absent.onnx"), store=shop.store)
    with pytest.raises(UnknownModel, match="no detector"):
        resolve_detector("pose", store=shop.store)
    with pytest.raises(UnknownModel, match="no poses"):
        resolve_pose("known", store=shop.store)
    with pytest.raises(ModelCorrupt, match="directory"):
        resolve_detector(str(tmp_path), store=shop.store)


def test_a_swapped_file_is_refused_when_it_is_loaded(shop):
    from posetask.models.yolox import YoloxDetector

    shop.pull("known")
    resolved = resolve_detector("known", store=shop.store)
    resolved.path.write_bytes(shop.bodies["unknown"])
    with pytest.raises(ModelCorrupt, match="expected " + shop.digests["known"]):
        YoloxDetector(resolved, sessions=1)


def test_the_demo_set_is_the_bundled_one_or_says_that_there_is_none(tmp_path, monkeypatch, make_yolox):
    monkeypatch.setattr(store_module, "__file__", str(tmp_path / "store.py"))
    for resolve in (resolve_detector, resolve_pose):
        with pytest.raises(ModelNotInstalled, match="bundled demo models"):
            resolve(DEMO)
    (tmp_path / DEMO).mkdir()
    make_yolox().rename(tmp_path / DEMO / "detector.onnx")
    (tmp_path / DEMO / "detector.onnx.yaml").write_text("name: demo-detector\n")
    assert resolve_detector(DEMO).spec.name == "demo-detector"


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("POSETASK_MODELS", str(tmp_path / "here"))
    assert models_folder() == tmp_path / "here"
    monkeypatch.delenv("POSETASK_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "posetask" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert models_folder() == tmp_path / "home" / ".cache" / "posetask" / "models"


def test_the_functions_work_on_this_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("POSETASK_MODELS", str(tmp_path))
    assert installed() == []
    assert verify() == []
    with pytest.raises(UnknownModel):
        pull(["nope"])
    (tmp_path / "yolox-nano.onnx").write_bytes(b"x")
    assert installed() == ["yolox-nano"]
    assert [v.state for v in verify()] == ["wrong"]
