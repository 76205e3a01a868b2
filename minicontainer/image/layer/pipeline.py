"""A pipeline of threads: each stage works on one piece while the next stage works on the piece before.

    pieces --> first stage --queue--> second stage --queue--> this thread

Hashing, decompressing, reading and writing release Python's lock, so two cores are really used by one layer.
The queues are short: however large a layer is, only a few pieces of it are in memory.

Invariant: a pipeline lives in a process of its own (`image.workers`), which ends when something fails. So
nobody has to stop the threads that wait to pass on a piece which is not wanted any more.

See queue; threading.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Queue

DEPTH = 4  # pieces that may wait between two stages

Stage = Callable[[Iterator[bytes]], Iterable[bytes]]
_Pieces = Queue[bytes | BaseException | None]  # pieces, then None or the error that ended the stage


def flow(pieces: Iterable[bytes], *stages: Stage) -> Iterator[bytes]:
    """Pass pieces through the stages, each in a thread of its own; gives what comes out of the last."""
    last = iter(pieces)
    for stage in stages:
        queue: _Pieces = Queue(DEPTH)
        threading.Thread(target=_fill, args=(queue, stage(last)), daemon=True).start()
        last = _empty(queue)
    return last


def _fill(queue: _Pieces, pieces: Iterable[bytes]) -> None:
    end: BaseException | None = None
    try:
        for piece in pieces:
            queue.put(piece)
    except BaseException as problem:
        end = problem  # raised again where the pieces are taken
    queue.put(end)


def _empty(queue: _Pieces) -> Iterator[bytes]:
    while (piece := queue.get()) is not None:
        if isinstance(piece, BaseException):
            raise piece
        yield piece
