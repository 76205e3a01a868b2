"""Pieces pass through the stages in order, few at a time, and an error comes out at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from minicontainer.image.layer.pipeline import DEPTH, flow
from tests.runtime.waiting import eventually

PIECES = [bytes([number]) for number in range(200)]


def test_pieces_come_out_in_their_order_and_changed_by_every_stage() -> None:
    def doubled(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece + piece

    assert list(flow(PIECES, doubled, iter, doubled)) == [piece * 4 for piece in PIECES]


def test_a_stage_may_make_more_pieces_or_none() -> None:
    def every_second_twice(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number % 2:
                yield piece
                yield piece

    assert list(flow(PIECES, every_second_twice)) == sorted(PIECES[1::2] * 2)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_error_of_any_stage_is_raised_where_the_pieces_are_taken(failing: int) -> None:
    def stage(number: int) -> object:
        def pass_on(pieces: Iterator[bytes]) -> Iterator[bytes]:
            for count, piece in enumerate(pieces):
                if number == failing and count == 3:
                    raise OSError(28, "No space left on device")
                yield piece

        return pass_on

    taken = []
    with pytest.raises(OSError, match="No space left"):
        taken.extend(flow(PIECES, stage(0), stage(1), stage(2)))


def test_a_stage_works_on_one_piece_while_the_next_works_on_the_piece_before() -> None:
    further = threading.Event()

    def first(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number == 1:
                further.set()
            yield piece

    def second(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            assert further.wait(60), "the first stage waits until the second has done its piece"
            yield piece

    assert list(flow(PIECES, first, second)) == PIECES


def test_only_a_few_pieces_are_made_before_they_are_wanted() -> None:
    made = []

    def source() -> Iterator[bytes]:
        for piece in PIECES:
            made.append(piece)
            yield piece

    out = flow(source(), iter, iter)
    next(out)
    most = 1 + 2 * (DEPTH + 1) + 1
    eventually(lambda: len(made) >= most - 2, "the stages do not go ahead")
    assert len(made) <= most
    assert len(list(out)) == len(PIECES) - 1
