"""Fuzzed replies into the wire decoder: an error or the right rows, never wrong rows, never a hang.

What is right is said by a small sequential parser that shares nothing with the array kernels. It is
strict: a reply that a server would not write is wrong, even where it could be guessed at.
"""

from __future__ import annotations

import collections
import contextlib
import random
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.errors import StoreError
from connector.redis.link import Link
from connector.redis.resp import (
    Lines,
    ProtocolError,
    Values,
    line_ends,
    parse_page,
    parse_statuses,
    parse_values,
)

SEED = 20_240_607
CASES = 12_000
LONGEST = 2**31 - 1
SHORT, WRONG = "short", "wrong"
TIMEOUT_SECONDS = 1.0


class Short(Exception):
    """More bytes are needed."""


class Wrong(Exception):
    """No further bytes can make this a reply of the kind asked for."""


@dataclass
class Reader:
    """The reference: reads RESP2 one token after another."""

    data: bytes
    at: int = 0

    def line(self, pattern: bytes) -> bytes:
        end = self.data.find(b"\r\n", self.at)
        if end < 0:
            raise Short
        line = self.data[self.at : end]
        if not re.fullmatch(pattern, line, re.DOTALL):
            raise Wrong
        self.at = end + 2
        return line

    def expect(self, line: bytes) -> None:
        found = self.data[self.at : self.at + len(line) + 2]
        if not (line + b"\r\n").startswith(found):
            raise Wrong
        if len(found) < len(line) + 2:
            raise Short
        self.at += len(found)

    def starts(self, kinds: bytes) -> bytes:
        kind = self.data[self.at : self.at + 1]
        if not kind:
            raise Short
        if kind not in kinds:
            raise Wrong
        return kind

    def bulk(self) -> bytes | None:
        self.starts(b"$")
        length = int(self.line(rb"\$(-1|0|[1-9][0-9]{0,9})")[1:])
        if length < 0:
            return None
        if length > LONGEST:
            raise Wrong
        stop = self.at + length
        closing = self.data[stop : stop + 2]
        if not b"\r\n".startswith(closing):
            raise Wrong
        if len(closing) < 2:
            raise Short
        value, self.at = self.data[self.at : stop], stop + 2
        return value

    def error(self) -> str:
        return self.line(rb"-[a-zA-Z].*")[1:].decode("utf-8", "replace")

    def status(self, kinds: bytes, error: bytes = rb"-.*") -> int | str:
        kind = self.starts(kinds)
        if kind == b"-":
            return self.line(error)[1:].decode("utf-8", "replace")
        if kind == b":":
            return int(self.line(rb":-?(0|[1-9][0-9]{0,17})")[1:])
        self.line(rb"\+.*")
        return 0


@dataclass(frozen=True)
class ValuesAsked:
    """Rows of bulk strings, each row under a header unless it is one string alone."""

    rows: int
    width: int
    bare: bool = False

    @property
    def header(self) -> bytes | None:
        return None if self.bare else b"*%d" % self.width

    def parse(self, lines: Lines) -> Any:
        found = parse_values(lines, self.rows, self.width, self.header)
        return found and (table_of(found), found.errors, found.size)

    def receive(self, link: Link) -> Any:
        found = link.values(self.rows, self.width, self.header)
        return table_of(found), found.errors, found.size

    def read(self, reader: Reader) -> Any:
        table: list[list[bytes | None]] = []
        errors = {}
        for row in range(self.rows):
            if reader.starts(b"-$" if self.bare else b"-*") == b"-":
                errors[row] = reader.error()
                table.append([None] * self.width)
                continue
            if self.header:
                reader.expect(self.header)
            table.append([reader.bulk() for _ in range(self.width)])
        return table, errors, reader.at


@dataclass(frozen=True)
class StatusesAsked:
    """Replies of one line each, or transactions of ``queued`` commands."""

    rows: int
    queued: int = 0

    @property
    def count(self) -> int:
        return self.rows * (2 + 2 * self.queued if self.queued else 1)

    def parse(self, lines: Lines) -> Any:
        found = parse_statuses(lines, self.count, self.queued)
        return found and (found.numbers.tolist(), found.errors, found.size)

    def receive(self, link: Link) -> Any:
        found = link.statuses(self.count, self.queued)
        return found.numbers.tolist(), found.errors, found.size

    def read(self, reader: Reader) -> Any:
        replies: list[int | str] = []
        for _ in range(self.rows):
            if not self.queued:
                replies.append(reader.status(b":+-"))
                continue
            replies.append(reader.status(b"+-"))
            replies += [reader.status(b":+-") for _ in range(self.queued)]
            if reader.starts(b"*-") == b"-":  # whatever is refused there, nothing was done
                replies.append(reader.status(b"-"))
                replies += [0] * self.queued
                continue
            reader.expect(b"*%d" % self.queued)
            replies += [0, *(reader.status(b":+-") for _ in range(self.queued))]
        errors = {i: reply for i, reply in enumerate(replies) if isinstance(reply, str)}
        return [0 if isinstance(r, str) else r for r in replies], errors, reader.at


@dataclass(frozen=True)
class PageAsked:
    """One reply to SCAN."""

    def parse(self, lines: Lines) -> Any:
        page = parse_page(lines)
        return page and (page[0], table_of(page[1]), page[1].errors, page[1].size)

    def receive(self, link: Link) -> Any:
        cursor, keys = link.page()
        return cursor, table_of(keys), keys.errors, keys.size

    def read(self, reader: Reader) -> Any:
        if reader.starts(b"-*") == b"-":
            return 0, [[None]], {0: reader.error()}, reader.at
        reader.expect(b"*2")
        length = reader.line(rb"\$[0-9]+")[1:]
        cursor = reader.line(rb"0|[1-9][0-9]{0,19}")
        if length != b"%d" % len(cursor) or int(cursor) >= 2**64:
            raise Wrong
        count = int(reader.line(rb"\*(0|[1-9][0-9]{0,8})")[1:])
        return int(cursor), [[reader.bulk()] for _ in range(count)], {}, reader.at


Asked = ValuesAsked | StatusesAsked | PageAsked


def table_of(found: Values) -> list[list[bytes | None]]:
    columns = [column.to_pylist() for column in found.columns()]
    return [list(row) for row in zip(*columns, strict=True)]


def expected(asked: Asked, data: bytes) -> Any:
    """What the reference reads: (..., size), SHORT or WRONG."""
    try:
        return asked.read(Reader(data))
    except Short:
        return SHORT
    except Wrong:
        return WRONG


def check(asked: Asked, data: bytes, cuts: list[int]) -> str:
    """Receive ``data`` in pieces as a Link does; what came of it: right, error, short or late."""
    array, ends, filled = np.frombuffer(data, np.uint8), np.empty(0, np.int64), 0
    right: Any = SHORT
    for cut in [*sorted(cuts), len(data)]:
        new = line_ends(array[:cut], max(0, filled - 1))
        ends, filled = np.concatenate([ends, new]), cut
        right = expected(asked, data[:cut])
        try:
            found = asked.parse(Lines(array[:cut], ends))
        except ProtocolError:
            assert right == WRONG
            return "error"
        if found is not None:
            assert found == right
            return "right"
        assert right in (SHORT, WRONG)
    return "late" if right == WRONG else "short"


# --- streams as a server writes them -------------------------------------------------------------

LOOKALIKES = [
    *(b"", b"\r\n", b"\r", b"\n", b"$-1", b"$3", b"*5", b"$3\r\nabc", b"$-1\r\n", b"*2\r\n", b"$"),
    *(b"-5", b"-ERR no", b"-x\r\n", b":1", b"+OK", b"\r\n$1\r\nx", b"\r\n\r\n", b"0", b"_\r\n"),
]
ERRORS = [b"WRONGTYPE it is not", b"OOM no", b"LOADING", b"ERR \xff", b"EXECABORT gone"]


def bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def some_value(rng: random.Random, plain: bool) -> bytes | None:
    kind = rng.random()
    if kind < 0.2:
        return None
    if kind < 0.6 and not plain:
        return rng.choice(LOOKALIKES)
    if kind < 0.63:
        return bytes(rng.choices(b"ab\r\n", k=rng.choice([300, 3000])))
    return rng.choice([b"", b"7", b"-12", b"abc", b"2013-01-01", b"a" * rng.randrange(120)])


def some_values(rng: random.Random) -> tuple[Asked, bytes]:
    bare, plain = rng.random() < 0.2, rng.random() < 0.5
    asked = ValuesAsked(rng.randint(1, 6), 1 if bare else rng.randint(1, 4), bare)
    data = b""
    for _ in range(asked.rows):
        if rng.random() < 0.07:
            data += b"-%b\r\n" % rng.choice(ERRORS)
            continue
        data += b"" if bare else b"*%d\r\n" % asked.width
        data += b"".join(bulk(some_value(rng, plain)) for _ in range(asked.width))
    return asked, data


def some_statuses(rng: random.Random) -> tuple[Asked, bytes]:
    asked = StatusesAsked(rng.randint(1, 6), rng.choice([0, 0, 1, 2, 3]))
    data = b""
    for _ in range(asked.rows):
        replies = [rng.choice([b":1", b":0", b":-3", b":90071", b"+OK", b"-OOM no"])]
        replies += [b":%d" % rng.randrange(9) for _ in range(asked.queued - 1)]
        if not asked.queued:
            lines = replies
        elif rng.random() < 0.3:
            refused = [b"-OOM no memory"] + [b"+QUEUED"] * (asked.queued - 1)
            lines = [b"+OK", *refused, b"-EXECABORT Transaction discarded"]
        elif rng.random() < 0.1:
            lines = [b"-NOPERM", *replies, b"-ERR EXEC without MULTI"]
        else:
            lines = [b"+OK", *[b"+QUEUED"] * asked.queued, b"*%d" % asked.queued, *replies]
        data += b"".join(line + b"\r\n" for line in lines)
    return asked, data


def some_page(rng: random.Random) -> tuple[Asked, bytes]:
    if rng.random() < 0.05:
        return PageAsked(), b"-%b\r\n" % rng.choice(ERRORS)
    keys = [some_value(rng, plain=rng.random() < 0.5) or b"t:1" for _ in range(rng.randrange(6))]
    cursor = rng.choice([0, 5, 1 << 63, rng.randrange(1 << 64)])
    opening = b"*2\r\n" + bulk(b"%d" % cursor) + b"*%d\r\n" % len(keys)
    return PageAsked(), opening + b"".join(map(bulk, keys))


def some_stream(rng: random.Random) -> tuple[Asked, bytes]:
    return rng.choice([some_values, some_values, some_statuses, some_page])(rng)


# --- what can happen to them ---------------------------------------------------------------------

NUMBERS = [
    *(b"-1", b"-2", b"0", b"+1", b" 1", b"1 ", b"", b"x", b"1_0", b"-0", b"00", b"1.0", b"0x1"),
    *(b"9999999999", b"2147483648", b"-9999999999", b"9" * 18, b"9" * 19, b"9" * 5000, b"\xb2"),
]
RESP3 = [b"%1", b"~2", b"_", b"#t", b">2", b",1.5", b"(12", b"=7\r\ntxt:abc", b"|1", b"!3\r\nERR"]
SPLICED = [b"\r", b"\n", b"\r\n", b"$", b"*", b"-", b":", b"0", b"\x00", b"*1\r\n", b"$-1\r\n"]


def spliced(rng: random.Random, data: bytes) -> bytes:
    """Some bytes gone, others in their place: a cut-out, an insertion or a change."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice([b"", *SPLICED]) + data[at + rng.choice([0, 1, 1, 2, 9]) :]


def flipped(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def renumbered(rng: random.Random, data: bytes) -> bytes:
    """The number in a header, or what looks like one, changed."""
    heads = list(re.finditer(rb"(?<=[$*:])-?[0-9]{1,20}(?=\r\n)", data))
    if not heads:
        return data
    head = rng.choice(heads)
    near = [b"%d" % (int(head[0]) + rng.choice([-1, 1])), b"0" + head[0], b"+" + head[0]]
    return data[: head.start()] + rng.choice(near + NUMBERS) + data[head.end() :]


def rearranged(rng: random.Random, data: bytes) -> bytes:
    """Lines repeated, lost, swapped, nested or replaced, or ended by half of CR LF."""
    lines = data.split(b"\r\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    changed = {
        "repeated": [*lines[:i], lines[i], *lines[i:]],
        "lost": lines[:i] + lines[i + 1 :],
        "moved": [*lines[:i], lines[j], *lines[i + 1 :]],
        "nested": [*lines[:i], b"*1", *lines[i:]],
        "newer": [*lines[:i], rng.choice(RESP3), *lines[i + 1 :]],
        "failed": [*lines[:i], b"-" + rng.choice([*ERRORS, b"", b"5"]), *lines[i + 1 :]],
    }
    joined = b"\r\n".join(changed[rng.choice(list(changed))])
    return joined if rng.random() < 0.8 else joined.replace(b"\r\n", rng.choice([b"\n", b"\r"]), 1)


def ended(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice([0, *(rng.randrange(len(data)) for _ in range(4))])]


def joined(rng: random.Random, data: bytes) -> bytes:
    other = some_stream(rng)[1]
    return data + other if rng.random() < 0.5 else other[: rng.randrange(len(other))] + data


MUTATIONS: list[Callable[[random.Random, bytes], bytes]] = [
    *(spliced, spliced, flipped, flipped, renumbered, renumbered, rearranged, rearranged),
    *(joined, ended),
]


def some_case(seed: int) -> tuple[Asked, bytes, list[int]]:
    """A question, an answer that may be garbled, and where the answer is cut on its way."""
    rng = random.Random(seed)
    asked, data = some_stream(rng)
    for mutate in rng.choices(MUTATIONS, k=rng.choice([0, 1, 1, 1, 1, 2, 3])):
        data = mutate(rng, data) if data else data
    return asked, data, [rng.randrange(len(data) + 1) for _ in range(3)]


def test_fuzzed_replies_are_an_error_or_the_right_rows() -> None:
    outcomes: collections.Counter[str] = collections.Counter()
    for seed in range(SEED, SEED + CASES):
        asked, data, cuts = some_case(seed)
        try:
            outcomes[check(asked, data, cuts)] += 1
        except BaseException:
            print(f"some_case({seed}): check({asked!r}, {data!r}, {cuts})")
            raise
    print(dict(outcomes))
    assert all(outcomes[kind] > CASES // 20 for kind in ("right", "error", "short")), outcomes
    assert outcomes["late"] < CASES // 10, "what waits for the timeout has become more"


TOKENS = [
    *(b"*1\r\n", b"*2\r\n", b"*0\r\n", b"$-1\r\n", b"$0\r\n", b"$1\r\n", b"$3\r\n", b"$03\r\n"),
    *(b"a\r\n", b"0\r\n", b"12\r\n", b"abc\r\n", b"-1a\r\n", b"-ERR\r\n", b":1\r\n", b"\r\n"),
    *(b"+OK\r\n", b"+QUEUED\r\n", b"-EXECABORT\r\n", b":-0\r\n", b"$9999999999\r\n", b"%1\r\n"),
    *(b"\r", b"\n", b"$", b"*", b"-", b":", b"1"),
]
ASKED: list[Asked] = [
    *(ValuesAsked(rows, width) for rows in (1, 2) for width in (1, 2)),
    *(ValuesAsked(1, 1, bare=True), ValuesAsked(3, 1, bare=True), PageAsked()),
    *(StatusesAsked(1), StatusesAsked(3), StatusesAsked(1, queued=1), StatusesAsked(2, queued=2)),
]


@settings(max_examples=2000, deadline=None)
@given(
    st.sampled_from(ASKED),
    st.lists(st.sampled_from(TOKENS) | st.binary(max_size=4), min_size=1, max_size=16),
    st.lists(st.integers(0, 60), max_size=2),
)
@example(StatusesAsked(2), [b"*1\r\n", b":1\r\n"], [])
@example(StatusesAsked(1, queued=1), [b"-NO\r\n:1\r\n", b"-ERR EXEC without MULTI\r\n"], [])
@example(StatusesAsked(2, queued=1), [b"+OK\r\n-EXECABORT\r\n", b"*1\r\n:1\r\n" * 3], [])
@example(StatusesAsked(1, queued=2), [b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*1\r\n:1\r\n:1\r\n"], [])
@example(PageAsked(), [b"*2\r\n$1\r\n0\r\n*x\r\n"], [])
@example(PageAsked(), [b"*2\r\n$1\r\n0\r\n*-1\r\n"], [])
@example(PageAsked(), [b"*2\r\n$1\r\n0\r\n*1_0\r\n", b"$1\r\na\r\n" * 10], [])
@example(PageAsked(), [b"*2\r\n$1\r\n12\r\n*0\r\n"], [])
@example(PageAsked(), [b"*2\r\n$20\r\n18446744073709551616\r\n*0\r\n"], [])
@example(PageAsked(), [b"*2\r\n$5000\r\n", b"9" * 5000, b"\r\n*0\r\n"], [])
@example(PageAsked(), [b"*2\r\n$1\r\n0\r\n*1\r\n-ERR in place of a key\r\n"], [])
@example(ValuesAsked(1, 1), [b"*1\r\n$03\r\nabc\r\n"], [])
@example(ValuesAsked(1, 1, bare=True), [b"-1\r\n\r\n"], [])
def test_any_tokens_are_an_error_or_the_right_rows(
    asked: Asked, tokens: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(tokens)
    check(asked, data, [min(cut, len(data)) for cut in cuts])


@pytest.mark.parametrize(
    ("asked", "data"),
    [
        (ValuesAsked(1000, 2), b"%2\r\n"),
        (ValuesAsked(1000, 2), b"*4\r\n$1\r\n"),
        (ValuesAsked(1000, 1, bare=True), b"*1\r\n"),
        (ValuesAsked(1, 1), b"*1\r\n$9999999999\r\nabc\r\n"),
        (PageAsked(), b"HTTP/1.1 400 Bad Request"),
        (PageAsked(), b"*2\r\n$1\r\nx\r\n"),
    ],
)
def test_what_cannot_become_right_is_refused_before_the_timeout(asked: Asked, data: bytes) -> None:
    assert check(asked, data, []) == "error"


# --- through a socket ----------------------------------------------------------------------------

Pieces = list[bytes | None]
SOUND: tuple[Asked, bytes] = (ValuesAsked(1, 2), b"*2\r\n$2\r\nok\r\n$-1\r\n")


class Player(socketserver.ThreadingTCPServer):
    """Answers PLAY name by that stream's pieces, and anything else by OK.

    Attributes:
        pieces: of each stream; None hangs up.
        played: which connection played each stream.
    """

    daemon_threads = True

    def __init__(self, pieces: dict[bytes, Pieces]) -> None:
        super().__init__(("127.0.0.1", 0), PlayerConnection)
        self.pieces = pieces
        self.played: dict[bytes, object] = {}


class PlayerConnection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        assert isinstance(self.server, Player)
        with contextlib.suppress(ConnectionError):  # a client that saw an error hangs up
            while words := request(self.rfile):
                if words[0] != b"PLAY":
                    self.wfile.write(b"+OK\r\n")
                    continue
                self.server.played[words[1]] = self
                for piece in self.server.pieces[words[1]]:
                    if piece is None:
                        return
                    self.wfile.write(piece)
                    time.sleep(0.001)


def request(file: BinaryIO) -> list[bytes]:
    """The words of a client's next command; none where it has hung up."""
    count = int(file.readline()[1:] or 0)
    return [file.read(int(file.readline()[1:]) + 2)[:-2] for _ in range(count)]


@contextlib.contextmanager
def playing(pieces: dict[bytes, Pieces]) -> Iterator[Player]:
    with Player(pieces) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()


def play(link: Link, name: bytes, asked: Asked) -> Any:
    link.send(memoryview(b"*2\r\n" + bulk(b"PLAY") + bulk(name)))
    return asked.receive(link)


@dataclass(frozen=True)
class Case:
    """A fuzzed stream, and how it is sent."""

    seed: int
    asked: Asked
    data: bytes
    right: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "right", expected(self.asked, self.data))

    @property
    def name(self) -> bytes:
        return b"%d" % self.seed

    @property
    def sound(self) -> bool:
        return self.right not in (SHORT, WRONG)

    @property
    def pieces(self) -> Pieces:
        """Cut inside of the replies asked for, so that what follows them comes with them."""
        cut = random.Random(self.seed).randrange(
            self.right[-1] if self.sound else len(self.data) + 1
        )
        hangs_up: Pieces = [None] if self.seed % 2 and not self.sound else []
        return [self.data[:cut], self.data[cut:], *hangs_up]

    def run(self, server: Player) -> tuple[str, bool]:
        """Play the stream, then a sound one: how it ended, and whether on the same connection."""
        pool = redis.ConnectionPool(
            port=server.server_address[1],
            host="127.0.0.1",
            protocol=2,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=30,
        )
        outcome, started = "right", time.monotonic()
        try:
            with Link(pool, "fuzzing") as link:
                found = play(link, self.name, self.asked)
            assert found == self.right
        except StoreError as error:
            outcome = type(error).__name__
            assert not self.sound
        assert time.monotonic() - started < TIMEOUT_SECONDS + 10
        with Link(pool, "fuzzing") as link:
            after = b"after " + self.name
            assert play(link, after, SOUND[0]) == expected(*SOUND)
        pool.disconnect()
        return outcome, server.played[self.name] is server.played[after]


def test_a_link_ends_every_fuzzed_answer_in_time_and_uses_no_broken_connection_again() -> None:
    cases = [Case(seed, *some_case(seed)[:2]) for seed in range(SEED, SEED + 200)]
    pieces = {case.name: case.pieces for case in cases}
    pieces |= {b"after " + case.name: [SOUND[1]] for case in cases}
    outcomes: collections.Counter[str] = collections.Counter()
    with playing(pieces) as server, ThreadPoolExecutor(16) as threads:
        running = [threads.submit(case.run, server) for case in cases]
        for case, ending in zip(cases, running, strict=True):
            try:
                outcome, reused = ending.result(timeout=60)
                assert reused == (case.sound and case.right[-1] == len(case.data))
            except BaseException:
                print(case)
                raise
            outcomes[outcome] += 1
    print(dict(outcomes))
    assert outcomes.keys() == {"right", "StoreError", "StoreTimeoutError", "StoreUnavailableError"}
