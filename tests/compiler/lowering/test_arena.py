"""The arena: what is in use at one time does not overlap, and little memory is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.compiler.lowering.arena import LINE, MemoryBlock, plan

LIVES = st.tuples(st.integers(0, 1000), st.integers(0, 30), st.integers(0, 12))


@given(st.lists(LIVES, max_size=40))
def test_blocks_in_use_at_one_time_do_not_overlap(lives: list[tuple[int, int, int]]) -> None:
    blocks = [MemoryBlock(size, first, first + length) for size, first, length in lives]
    whole = plan(blocks)
    for block in blocks:
        assert block.offset % LINE == 0
        assert 0 <= block.offset <= block.offset + block.size <= whole
    for i, a in enumerate(blocks):
        for b in blocks[:i]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
            assert apart or not together


@given(st.lists(LIVES, max_size=40))
def test_the_arena_is_at_most_twice_what_is_in_use_at_one_time(
    lives: list[tuple[int, int, int]],
) -> None:
    blocks = [MemoryBlock(size, first, first + length) for size, first, length in lives]
    in_use = [
        sum(-(-b.size // LINE) * LINE for b in blocks if b.first <= now <= b.last)
        for now in range(50)
    ]
    assert plan(blocks) <= 2 * max(in_use)


def test_values_of_a_chain_share_two_places() -> None:
    blocks = [MemoryBlock(100, i, i + 1) for i in range(50)]
    assert plan(blocks) == 2 * 128
