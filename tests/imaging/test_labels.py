import numpy as np
import pytest

from service.imaging.labels import labelled

PLUS_AND_LINE = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    bool,
)


def neighbours(row, column, shape):
    for y in range(max(0, row - 1), min(shape[0], row + 2)):
        for x in range(max(0, column - 1), min(shape[1], column + 2)):
            yield y, x


def test_marks_hold_together_across_corners_and_tell_their_size_and_box():
    marks = labelled(PLUS_AND_LINE)
    assert marks.count == 2
    assert marks.sizes.tolist() == [0, 5, 2]
    assert marks.boxes[1:].tolist() == [[1, 4, 1, 4], [3, 5, 5, 7]]
    assert marks.extents.tolist() == [0, 3, 2]
    assert ((marks.plane > 0) == PLUS_AND_LINE).all()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_pixels_have_one_number_where_they_touch_and_others_where_they_do_not(share):
    mask = np.random.default_rng(3).random((23, 31)) < share
    mask[:4] = mask[:, -3:] = False
    marks = labelled(mask)
    found = marks.plane
    assert marks.plane.shape == mask.shape
    assert sorted(np.unique(found[mask])) == list(range(1, marks.count + 1))
    seen = np.zeros(mask.shape, bool)
    floods = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        floods += 1
        waiting = [start]
        seen[start] = True
        while waiting:
            at = waiting.pop()
            assert found[at] == found[start]
            for near in neighbours(*at, mask.shape):
                if mask[near] and not seen[near]:
                    seen[near] = True
                    waiting.append(near)
    assert floods == marks.count


def test_some_marks_alone_are_numbered_as_if_there_had_been_no_others():
    mask = np.random.default_rng(5).random((20, 20)) < 0.2
    marks = labelled(mask)
    kept = marks.sizes >= 2
    some, anew = marks.only(kept), labelled(kept[marks.plane])
    assert some.count == anew.count > 1
    assert (some.plane == anew.plane).all()
    assert (some.boxes[1:] == anew.boxes[1:]).all()
    assert (some.sizes == anew.sizes).all()


def test_a_mask_without_marks():
    marks = labelled(np.zeros((5, 7), bool))
    assert marks.count == 0
    assert marks.plane.shape == (5, 7)
    assert not marks.plane.any()
    assert marks.only(np.array([True])).count == 0
