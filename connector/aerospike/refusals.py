"""What the server says to a row that it does not write."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from aerospike_helpers.batch.records import BatchRecords

from connector.aerospike.results import error_of
from connector.errors import StoreError, WriteRejectedError

NO_RESPONSE = -15
"""The result of a record that no node has answered for."""

EXISTS = 5
"""The result of a record that was to be new, and is there."""

REASONS: Mapping[int, str] = {
    2: "there is no such record",
    3: "its record has another generation",
    4: "the server takes the request for malformed",
    EXISTS: "there is such a record already",
    8: "the namespace is full, or has stopped taking writes",
    10: "the server is configured to refuse it",
    12: "a bin holds a value of another type",
    13: "its record would be larger than the namespace allows",
    19: "another key has the same digest",
    21: "a bin's name is too long, or the record has too many bins",
    22: "forbidden: the set has stopped taking writes, or a ttl is given in a namespace without "
    "nsup-period",
    26: "the value does not suit its bin",
    27: "a filter leaves it out",
    28: "it lost a conflict with another write",
}
"""Results that one row can have and another not, in words."""

_BATCH_FAILED = -16  # some of the records failed: their own results tell why


def reason(code: int) -> str:
    """Why a row was refused, with the code."""
    return f"{REASONS[code]} (code {code})"


def check_request(doing: str, answer: BatchRecords) -> None:
    """Raise if a request failed as a whole; the results of its records are looked at apart.

    Raises:
        StoreError: it did.
    """
    if answer.result not in (0, _BATCH_FAILED):
        said = next((record.message for record in answer.batch_records if record.message), None)
        raise failure(doing, answer.result, said)


def failure(doing: str, code: int, message: str | None) -> StoreError:
    """The error for a result that is no row's fault.

    Args:
        doing: what was being done.
        code: the result.
        message: what the client says of it, if anything.
    """
    said = message or ("no answer" if code == NO_RESPONSE else "the request failed")
    return error_of(code)(
        f"{doing}: {said} (code {code}). Rows of this write may be stored; writing it again is safe"
    )


def rejection(doing: str, names: pa.Array, codes: Mapping[int, int]) -> WriteRejectedError:
    """The error for rows that were refused.

    Args:
        doing: what was being done.
        names: the encoded keys of a request's rows.
        codes: the results of the refused ones, by row.
    """
    row, code = next(iter(codes.items()))
    return WriteRejectedError(
        f"{doing}: the server refused {len(codes)} of {len(names)} rows of a request, such as key "
        f"{names[row].as_py()!r}: {reason(code)}. Other rows of this write may be stored; writing it "
        f"again is safe"
    )
