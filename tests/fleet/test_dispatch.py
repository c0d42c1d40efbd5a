"""Each item is settled once, whoever dies; who brings no worker down is never given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ostiary.fleet.dispatch import Dispatch
from ostiary.fleet.item import Item


def item(index: int) -> Item:
    return Item(index, str(index), f"key-{index}", index)


@given(
    count=st.integers(0, 60),
    window=st.integers(1, 24),
    batch=st.integers(1, 8),
    retries=st.integers(0, 4),
    data=st.data(),
)
def test_every_item_is_settled_once(
    count: int, window: int, batch: int, retries: int, data: st.DataObject
) -> None:
    poison = set(data.draw(st.lists(st.integers(0, 59), max_size=4), label="poison"))
    dispatch = Dispatch(window=window, batch=batch, retries=retries)
    source = iter(range(count))
    out: list[list[Item]] = []
    settled: list[int] = []
    given_up: set[int] = set()
    deaths = 0
    while not dispatch.over:
        while dispatch.room > 0 and not dispatch.ended:
            index = next(source, None)
            if index is None:
                dispatch.ended = True
            else:
                dispatch.add(item(index))
        while (items := dispatch.take()) is not None:
            out.append(items)
        if dispatch.over:
            break
        assert out, "nothing is out, and nothing is over"
        assert sum(map(len, out)) == dispatch.out <= window
        # All processes of a pool end together when one does.
        dies = any(one.index in poison for items in out for one in items)
        if dies or (deaths < 5 and data.draw(st.booleans(), label="an accident")):
            deaths += 1
            alone = dispatch.out == 1
            for items in out:
                lost = dispatch.lost(items)
                assert not lost or alone
                given_up |= {one.index for one in lost}
                settled += [one.index for one in lost]
            out.clear()
        else:
            items = out.pop(data.draw(st.integers(0, len(out) - 1), label="which is done"))
            dispatch.done(items)
            settled += [one.index for one in items]
    assert sorted(settled) == list(range(count))
    assert poison & set(range(count)) <= given_up


@given(retries=st.integers(0, 5))
def test_an_item_that_kills_is_tried_as_often_as_is_said(retries: int) -> None:
    dispatch = Dispatch(window=4, batch=4, retries=retries)
    dispatch.add(item(0))
    dispatch.ended = True
    tries = 0
    while not dispatch.over:
        items = dispatch.take()
        assert items is not None
        tries += 1
        dispatch.lost(items)
    # Whoever was in company when its worker died has a last try alone, also with no retries.
    assert tries == max(retries, 1) + 1


def test_a_batch_waits_until_it_is_whole_or_nothing_else_is_out() -> None:
    dispatch = Dispatch(window=8, batch=4, retries=2)
    dispatch.add(item(0))
    first = dispatch.take()
    assert first is not None
    assert [one.index for one in first] == [0]
    for index in (1, 2, 3):
        dispatch.add(item(index))
    assert dispatch.take() is None
    dispatch.add(item(4))
    second = dispatch.take()
    assert second is not None
    assert [one.index for one in second] == [1, 2, 3, 4]
    dispatch.add(item(5))
    assert dispatch.take() is None
    dispatch.ended = True
    assert [one.index for one in dispatch.take() or []] == [5]


def test_whoever_runs_alone_has_nobody_beside_it() -> None:
    dispatch = Dispatch(window=4, batch=1, retries=1)
    dispatch.add(item(0))
    assert dispatch.lost(dispatch.take() or []) == []
    dispatch.add(item(1))
    assert [one.index for one in dispatch.take() or []] == [1]  # what is fresh goes before it
    assert dispatch.take() is None
    dispatch.done([item(1)])
    assert [one.index for one in dispatch.take() or []] == [0]
    dispatch.add(item(2))
    assert dispatch.take() is None
