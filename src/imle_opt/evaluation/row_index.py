"""Which rows of costs were seen before, and where they were put: done on arrays, for millions of rows.

Rows are told apart by 128 bits that are mixed from their content, bit by bit: a key and a check of 64 bits.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.solution import FloatArray

__all__ = ["KeyArray", "RowArray", "RowIndex", "distinct", "enlarged", "row_keys"]

KeyArray: TypeAlias = NDArray[np.uint64]
RowArray: TypeAlias = NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)

_KEY_SEED, _CHECK_SEED = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_PIECE_BYTES = 2**17
"""Of rows that are mixed at a time: they stay in the processor's cache."""
_FIRST_SLOTS = 1024


def row_keys(costs: FloatArray) -> tuple[KeyArray, KeyArray]:
    """Return a key and a check of each row, (B,) and (B,).

    Args:
        costs: (B, *shape), C order.

    With x_j the bits of entry j and mix Steele's finalizer, a bijection: the key is the sum of
    h_j = mix(x_j ^ salt_j), the check that of h_j w_j with odd weights w_j; both modulo 2^64.
    """
    bits = costs.reshape(len(costs), -1).view(np.uint64)
    places = np.arange(1, bits.shape[1] + 1, dtype=np.uint64)
    salts, weights = places * _KEY_SEED, _mixed(places * _CHECK_SEED) | np.uint64(1)
    keys, checks = np.empty(len(bits), dtype=np.uint64), np.empty(len(bits), dtype=np.uint64)
    step = max(1, _PIECE_BYTES // (8 * bits.shape[1]))
    for start in range(0, len(bits), step):
        rows = slice(start, start + step)
        mixed = _mixed(bits[rows] ^ salts)
        keys[rows] = mixed.sum(axis=1, dtype=np.uint64)
        mixed *= weights
        checks[rows] = mixed.sum(axis=1, dtype=np.uint64)
    return keys, checks


def _mixed(numbers: KeyArray) -> KeyArray:
    """Mix the bits of each number, in its place."""
    shifted = numbers >> np.uint64(30)
    numbers ^= shifted
    numbers *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(numbers, np.uint64(27), out=shifted)
    numbers ^= shifted
    numbers *= np.uint64(0x94D049BB133111EB)
    np.right_shift(numbers, np.uint64(31), out=shifted)
    numbers ^= shifted
    return numbers


def distinct(keys: KeyArray, checks: KeyArray) -> tuple[RowArray, RowArray]:
    """Return the first row of each distinct key, and for each row which of those it equals."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    if first.size == keys.size or not np.array_equal(checks[first][inverse], checks):
        every = np.arange(keys.size)
        return every, every
    return first, inverse


def enlarged(array: NDArray[Number], rows: int) -> NDArray[Number]:
    """Return the array with room for so many rows; what is in the new ones is undefined."""
    larger = np.empty((rows, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


@final
class RowIndex:
    """The number under which each key was added, 0, 1, 2, ...

    A hash table by open addressing. All keys of a call walk through it together: each looks into the slot
    that its lowest bits name, and those that find another key there go on to the next slot.
    """

    MOST_BYTES = 48
    """Of memory, per key: two numbers of 64 bits with room for as many again, and up to four slots."""

    def __init__(self) -> None:
        self._keys: KeyArray = np.empty(0, dtype=np.uint64)
        self._checks: KeyArray = np.empty(0, dtype=np.uint64)
        self._slots: NDArray[np.int32] = np.full(_FIRST_SLOTS, -1, dtype=np.int32)
        self._size = 0

    def find(self, keys: KeyArray, checks: KeyArray) -> RowArray:
        """Return the number of each key, -1 where it is not there."""
        numbers = np.full(len(keys), -1, dtype=np.int64)
        left, slots = np.arange(len(keys)), self._first_slots(keys)
        while left.size:
            found = self._slots[slots]
            taken = np.flatnonzero(found >= 0)
            left, slots, found = left[taken], slots[taken], found[taken]
            same = (self._keys[found] == keys[left]) & (self._checks[found] == checks[left])
            numbers[left[same]] = found[same]
            left, slots = left[~same], self._next(slots[~same])
        return numbers

    def add(self, keys: KeyArray, checks: KeyArray) -> None:
        """Add keys that are not there, each once."""
        size = self._size + len(keys)
        if size > len(self._keys):
            room = max(size, 2 * self._size)
            self._keys, self._checks = enlarged(self._keys, room), enlarged(self._checks, room)
        self._keys[self._size : size], self._checks[self._size : size] = keys, checks
        if 2 * size > len(self._slots):
            slots = 1 << (2 * size - 1).bit_length()
            self._slots = np.full(slots, -1, dtype=np.int32)
            self._size = 0
        self._put(np.arange(self._size, size, dtype=np.int32))
        self._size = size

    def _put(self, numbers: NDArray[np.int32]) -> None:
        slots = self._first_slots(self._keys[numbers])
        while numbers.size:
            free = self._slots[slots] < 0
            self._slots[slots[free]] = numbers[free]
            # Of several that meet in a free slot, it holds the one that was written last.
            left = self._slots[slots] != numbers
            numbers, slots = numbers[left], self._next(slots[left])

    def _first_slots(self, keys: KeyArray) -> RowArray:
        return (keys & np.uint64(len(self._slots) - 1)).astype(np.int64)

    def _next(self, slots: RowArray) -> RowArray:
        return np.asarray((slots + 1) & (len(self._slots) - 1), dtype=np.int64)
