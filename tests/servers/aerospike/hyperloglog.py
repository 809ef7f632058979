"""HyperLogLog values: what one looks like, and how an empty one begins. Counting is not done here."""

from __future__ import annotations

from typing import Any

from .protocol import Refused, Result

_INIT = 0
_HEADER_BYTES = 11  # flags, index bits, minhash bits, and 8 of a cached count
_REGISTER_BITS = 6
_UNSET = -1


def is_valid(value: bytes) -> bool:
    """Do the bytes look like a HyperLogLog?"""
    return (
        len(value) >= _HEADER_BYTES
        and value[0] == 0
        and _bits_are_valid(value[1], value[2])
        and len(value) == len(_empty(value[1], value[2]))
    )


def initialized(old: bytes | None, request: list[Any]) -> bytes:
    """What the operation that makes an empty HyperLogLog leaves in a bin.

    Raises:
        Refused: for another operation, or for sizes that none can have.
    """
    operation, *arguments = request
    if operation != _INIT:
        raise Refused(Result.UNSUPPORTED_FEATURE)
    index_bits, minhash_bits = [*arguments, _UNSET, _UNSET][:2]
    if old is None and index_bits == _UNSET:
        raise Refused(Result.NOT_APPLICABLE)
    if index_bits == _UNSET and old is not None:
        index_bits = old[1]
    if minhash_bits == _UNSET:
        minhash_bits = 0 if old is None else old[2]
    if not _bits_are_valid(index_bits, minhash_bits):
        raise Refused(Result.PARAMETER)
    return _empty(index_bits, minhash_bits)


def _bits_are_valid(index_bits: int, minhash_bits: int) -> bool:
    fits = minhash_bits == 0 or 4 <= minhash_bits <= 51
    return 4 <= index_bits <= 16 and fits and index_bits + minhash_bits <= 64


def _empty(index_bits: int, minhash_bits: int) -> bytes:
    registers = ((_REGISTER_BITS + minhash_bits) * (1 << index_bits) + 7) // 8
    return bytes([0, index_bits, minhash_bits]) + bytes(8 + registers)
