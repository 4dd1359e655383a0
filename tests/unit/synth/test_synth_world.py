"""The world: repeatable, random access, and true."""

from __future__ import annotations

import numpy as np
import pytest

from posetask.synth.framecode import read_frame_number
from posetask.synth.spec import CameraMotion, Difficulty, Paths, WorldSpec
from posetask.synth.world import World

SMALL = {"width": 320, "height": 180}


def same(a: object, b: object) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in type(a).__slots__)


def test_equal_specs_give_equal_frames_and_truth() -> None:
    spec = WorldSpec(seed=5, people=5, **SMALL)
    first, second = World(spec), World(spec)
    for i in (0, 31, 149):
        (image, truth), (other, its) = first.frame(i), second.frame(i)
        assert np.array_equal(image, other)
        assert same(truth, its)


def test_a_frame_does_not_depend_on_which_were_drawn_before() -> None:
    spec = WorldSpec(seed=6, people=4, difficulty=Difficulty.HARD, **SMALL)
    forward, backward = World(spec), World(spec)
    ahead = [forward.frame(i) for i in (3, 60, 140)]
    behind = [backward.frame(i) for i in (140, 60, 3)][::-1]
    for (image, truth), (other, its) in zip(ahead, behind, strict=True):
        assert np.array_equal(image, other)
        assert same(truth, its)


def test_a_longer_clip_begins_like_a_shorter_one() -> None:
    short, long = (World(WorldSpec(seed=8, frames=n, **SMALL)) for n in (20, 2000))
    assert np.array_equal(short.frame(19)[0], long.frame(19)[0])


def test_drawing_leaves_the_global_generator_alone() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    World(WorldSpec(seed=1, **SMALL)).frame(0)
    assert np.array_equal(before, np.random.get_state()[1])


def test_seeds_differ() -> None:
    a, b = (World(WorldSpec(seed=s, **SMALL)).frame(0)[0] for s in (1, 2))
    assert not np.array_equal(a, b)


def test_iteration_gives_every_frame_once() -> None:
    world = World(WorldSpec(seed=1, frames=5, **SMALL))
    assert [truth.frame for _, truth in world] == list(range(5))
    assert len(world) == 5


@pytest.mark.parametrize("i", [-1, 150])
def test_a_frame_outside_the_clip_is_an_index_error(i: int) -> None:
    with pytest.raises(IndexError, match="frame"):
        World(WorldSpec(**SMALL)).frame(i)


@pytest.mark.parametrize("difficulty", list(Difficulty))
@pytest.mark.parametrize("seed", range(4))
def test_truth_is_consistent(seed: int, difficulty: Difficulty) -> None:
    spec = WorldSpec(seed=seed, people=8, difficulty=difficulty, **SMALL)
    world = World(spec)
    for i in range(0, 150, 30):
        image, t = world.frame(i)
        assert image.shape == (180, 320, 3)
        assert image.dtype == np.uint8
        n = len(t)
        assert (t.boxes.shape, t.keypoints.shape, t.visibility.shape) == ((n, 4), (n, 17, 3), (n,))
        assert t.ids.dtype == np.int32
        assert t.boxes.dtype == t.keypoints.dtype == np.float32
        assert len(set(t.ids.tolist())) == n
        assert set(t.ids.tolist()) <= set(range(1, 9))
        assert (t.boxes >= 0).all()
        assert (t.boxes <= [320, 180, 320, 180]).all()
        assert (t.boxes[:, 2:] - t.boxes[:, :2] >= 2).all()
        assert (t.full_boxes[:, :2] <= t.boxes[:, :2]).all()
        assert (t.full_boxes[:, 2:] >= t.boxes[:, 2:]).all()
        assert ((t.visibility >= 0) & (t.visibility <= 1)).all()
        x, y, v = t.keypoints[..., 0], t.keypoints[..., 1], t.keypoints[..., 2]
        assert set(np.unique(v).tolist()) <= {0.0, 1.0, 2.0}
        inside = (x >= 0) & (x < 320) & (y >= 0) & (y < 180)
        assert ((v > 0) == inside).all()
        low, high = t.full_boxes[:, None, :2], t.full_boxes[:, None, 2:]
        assert ((t.keypoints[..., :2] >= low - 1) & (t.keypoints[..., :2] <= high + 1)).all()


def test_boxes_are_tight_around_what_is_painted() -> None:
    """The picture with and without a person differs inside the person's box and hardly anywhere else."""
    spec = WorldSpec(seed=12, people=1, width=640, height=360, camera=CameraMotion.STILL, frames=400)
    alone, empty = World(spec), World(spec.model_copy(update={"people": 0}))
    seen = 0
    for i in range(0, 400, 20):
        image, truth = alone.frame(i)
        if not len(truth) or truth.visibility[0] < 0.99:
            continue
        changed = np.abs(image.astype(int) - empty.frame(i)[0]).max(2) > 60
        rows, columns = np.nonzero(changed.any(1))[0], np.nonzero(changed.any(0))[0]
        x0, y0, x1 = truth.boxes[0, :3]
        slack = 4
        assert columns[0] >= x0 - slack
        assert columns[-1] <= x1 + slack
        # the shadow and a stool reach below the feet, never above the head
        assert rows[0] >= y0 - slack
        seen += 1
    assert seen >= 5


def test_the_nearer_person_hides_the_farther_one() -> None:
    spec = WorldSpec(seed=3, people=14, difficulty=Difficulty.HARD, **SMALL)
    world = World(spec)
    visibility = np.concatenate([world.frame(i)[1].visibility for i in range(0, 150, 10)])
    assert visibility.min() < 0.3
    assert visibility.max() > 0.97


def test_people_leave_and_come_back_under_their_id() -> None:
    spec = WorldSpec(seed=2, people=8, difficulty=Difficulty.HARD, frames=1500, width=128, height=72)
    world = World(spec)
    seen = np.zeros((150, 9), bool)
    for row in range(150):
        seen[row, world.frame(row * 10)[1].ids] = True
    changes = np.diff(seen[:, 1:].astype(int), axis=0)
    left, came = (changes < 0).any(0), (changes > 0).any(0)
    assert (left & came).any()


def test_hard_worlds_reach_from_small_to_tall() -> None:
    heights = []
    for seed in range(6):
        world = World(WorldSpec(seed=seed, people=12, difficulty=Difficulty.HARD))
        for i in (0, 75, 149):
            boxes = world.frame(i)[1].full_boxes
            heights += (boxes[:, 3] - boxes[:, 1]).tolist()
    assert min(heights) < 34
    assert max(heights) > 300


def test_easy_people_are_mostly_in_plain_sight() -> None:
    clear, tall = [], []
    for seed in range(6):
        world = World(WorldSpec(seed=seed, people=5))
        for i in range(0, 150, 25):
            truth = world.frame(i)[1]
            clear += (truth.visibility >= 0.7).tolist()
            tall += (truth.boxes[:, 3] - truth.boxes[:, 1] >= 60).tolist()
    assert np.mean(clear) > 0.85
    assert np.mean(tall) > 0.9


def test_paths_decide_how_much_people_hide_each_other() -> None:
    shares = {}
    for paths in (Paths.APART, Paths.CROSSING):
        seen: list[float] = []
        for seed in range(5):
            world = World(WorldSpec(seed=seed, people=5, paths=paths, **SMALL))
            for i in range(0, 150, 30):
                seen += world.frame(i)[1].visibility.tolist()
        shares[paths] = np.mean(np.array(seen) < 0.7)
    assert shares[Paths.CROSSING] > 1.5 * shares[Paths.APART]


def test_the_number_code_says_the_frame_number() -> None:
    world = World(WorldSpec(seed=4, number_code=True, **SMALL))
    assert [read_frame_number(world.frame(i)[0]) for i in (0, 7, 149)] == [0, 7, 149]


def test_an_empty_world_has_no_people_and_a_background() -> None:
    image, truth = World(WorldSpec(seed=1, people=0, **SMALL)).frame(3)
    assert len(truth) == 0
    assert truth.keypoints.shape == (0, 17, 3)
    assert image.std() > 1


def test_a_camera_on_a_tripod_does_not_move() -> None:
    spec = WorldSpec(seed=9, people=0, camera=CameraMotion.STILL, **SMALL)
    still, held = World(spec), World(spec.model_copy(update={"camera": CameraMotion.MOVING}))

    def change(world: World) -> float:
        return float(np.abs(world.frame(0)[0].astype(int) - world.frame(40)[0]).mean())

    assert change(held) > change(still) + 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 8},
        {"frames": 0},
        {"people": -1},
        {"frame_rate": 0},
        {"seed": -1},
        {"difficulty": "no"},
        {"x": 1},
    ],
)
def test_a_spec_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WorldSpec.model_validate(wrong)


def test_a_spec_cannot_be_changed_and_can_be_hashed() -> None:
    spec = WorldSpec(seed=1)
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 2
    assert {spec: 1}[WorldSpec(seed=1)] == 1
