"""Records and expressions on them, to be asked of every server."""

from __future__ import annotations

import math
from typing import Any

import aerospike
from aerospike_helpers import cdt_ctx
from aerospike_helpers import expressions as exp
from aerospike_helpers.expressions import list as lists
from aerospike_helpers.expressions import map as maps
from aerospike_helpers.expressions.resources import ResultType

Case = tuple[str, Any]

RECORDS: dict[str, dict[str, Any]] = {
    "a": {"n": 1, "f": 1.5, "s": "abc", "y": True, "b": bytearray(b"\x01\x02"), "l": [1, 2, 3]},
    "b": {"n": -7, "f": -0.0, "s": "Grüße", "y": False, "l": ["x", "y", "x"], "m": {"k": 1}},
    "c": {"n": 2**63 - 1, "f": math.inf, "s": "", "b": bytearray(b""), "l": []},
    "d": {"n": -(2**63), "f": math.nan, "s": "a.c", "m": {"k": "v", "j": {"i": [5, 6]}}},
    "e": {"n": 1.0, "f": 1, "s": 3, "y": 1, "l": {"k": 2}, "m": [1]},
    "f": {"o": 1},
    "g": {"n": 0, "s": "ABC", "l": [1.0, None, [1, 2], {"q": 1}], "m": {1: 2, "k": None}},
    "h": {"n": 5, "s": "a\nb", "m": aerospike.KeyOrderedDict({"k": 7, "z": [1, 2]})},
}

_COUNT, _EXISTS, _VALUE = (
    aerospike.LIST_RETURN_COUNT,
    aerospike.LIST_RETURN_EXISTS,
    aerospike.LIST_RETURN_VALUE,
)
_INDEX, _RANK = aerospike.LIST_RETURN_INDEX, aerospike.LIST_RETURN_RANK
_REVERSED, _REVRANK = aerospike.LIST_RETURN_REVERSE_INDEX, aerospike.LIST_RETURN_REVERSE_RANK
_MAP_COUNT, _MAP_EXISTS = aerospike.MAP_RETURN_COUNT, aerospike.MAP_RETURN_EXISTS
_MAP_VALUE, _MAP_KEY = aerospike.MAP_RETURN_VALUE, aerospike.MAP_RETURN_KEY

_N, _F, _S, _Y, _B, _L, _M = (
    exp.IntBin("n"),
    exp.FloatBin("f"),
    exp.StrBin("s"),
    exp.BoolBin("y"),
    exp.BlobBin("b"),
    exp.ListBin("l"),
    exp.MapBin("m"),
)

COMPARISONS: list[Case] = [
    (f"{name} {type(operator).__name__} {value!r}", operator)
    for name, left, values in [
        ("n", _N, [1, 0, -(2**63), 2**63 - 1]),
        ("f", _F, [1.5, 0.0, math.inf, -math.inf, math.nan]),
        ("s", _S, ["abc", "", "Grüße", "b"]),
        ("y", _Y, [True, False]),
        ("b", _B, [bytearray(b"\x01\x02"), bytearray(b"\x01")]),
        ("l", _L, [[1, 2, 3], [], ["x"], [1, 2], [1, 2, 3, 4]]),
    ]
    for value in values
    for operator in (
        exp.Eq(left, value),
        exp.NE(left, value),
        exp.LT(left, value),
        exp.LE(left, value),
        exp.GT(left, value),
        exp.GE(left, value),
    )
]

LOGIC: list[Case] = [
    ("and", exp.And(exp.GT(_N, 0), exp.GT(_F, 1.0))),
    ("and unknown false", exp.Not(exp.And(exp.Eq(exp.IntBin("none"), 1), exp.Eq(_N, 99)))),
    ("or", exp.Or(exp.Eq(_S, "abc"), exp.Eq(_N, 0))),
    ("or unknown true", exp.Or(exp.Eq(exp.IntBin("none"), 1), exp.Eq(_N, 1))),
    ("not", exp.Not(exp.Eq(_N, 1))),
    ("not unknown", exp.Not(exp.Eq(exp.IntBin("none"), 1))),
    ("unknown", exp.Unknown()),
    ("exclusive", exp.Exclusive(exp.Eq(_N, 1), exp.Eq(_S, "abc"), exp.Eq(_F, 1.5))),
    ("exclusive one", exp.Exclusive(exp.Eq(_N, 1), exp.Eq(_S, "ABC"))),
    ("bool bin", _Y),
    ("many terms", exp.Or(*(exp.Eq(_N, i) for i in range(-500, 500)))),
    ("cond", exp.Cond(exp.GT(_N, 0), exp.Eq(_S, "abc"), exp.LT(_N, 0), True, exp.Eq(_S, "ABC"))),
    ("cond unknown", exp.Cond(exp.BinExists("n"), exp.Unknown(), True)),
    (
        "let",
        exp.Let(
            exp.Def("x", exp.Add(_N, 1)), exp.And(exp.GT(exp.Var("x"), 0), exp.LT(exp.Var("x"), 9))
        ),
    ),
    (
        "let unknown",
        exp.Let(exp.Def("x", exp.IntBin("none")), exp.Or(exp.Eq(exp.Var("x"), 1), exp.Eq(_N, 1))),
    ),
    ("exists", exp.BinExists("y")),
    ("missing", exp.Not(exp.BinExists("y"))),
    ("type int", exp.Eq(exp.BinType("n"), aerospike.AS_BYTES_INTEGER)),
    ("type double", exp.Eq(exp.BinType("n"), aerospike.AS_BYTES_DOUBLE)),
    ("type list", exp.Eq(exp.BinType("l"), aerospike.AS_BYTES_LIST)),
    ("type none", exp.Eq(exp.BinType("none"), 0)),
    ("null test", exp.Eq(exp.BinType("y"), 17)),
]

ARITHMETIC: list[Case] = [
    ("add", exp.Eq(exp.Add(_N, 1), 2)),
    ("add wraps", exp.Eq(exp.Add(_N, 1), -(2**63))),
    ("add three", exp.Eq(exp.Add(_N, 1, 1), 3)),
    ("sub", exp.Eq(exp.Sub(_N, 1), 0)),
    ("sub wraps", exp.GT(exp.Sub(_N, 1), 0)),
    ("negative", exp.GT(exp.Sub(0, _N), 0)),
    ("mul", exp.Eq(exp.Mul(_N, 3), -21)),
    ("mul wraps", exp.Eq(exp.Mul(_N, 2), -2)),
    ("div", exp.Eq(exp.Div(_N, 2), -3)),
    ("div by zero", exp.GE(exp.Div(5, _N), 0)),
    ("float div by zero", exp.GT(exp.Div(1.0, _F), 0.0)),
    ("mod", exp.Eq(exp.Mod(_N, 5), -2)),
    ("mod by zero", exp.GE(exp.Mod(5, _N), 0)),
    ("abs", exp.Eq(exp.Abs(_N), 7)),
    ("abs of least", exp.LT(exp.Abs(_N), 0)),
    ("floor", exp.Eq(exp.Floor(_F), 1.0)),
    ("ceil", exp.Eq(exp.Ceil(_F), 2.0)),
    ("to int", exp.Eq(exp.ToInt(_F), 1)),
    ("to int of inf", exp.Eq(exp.ToInt(_F), -(2**63))),
    ("to float", exp.Eq(exp.ToFloat(_N), 1.0)),
    ("to float of much", exp.Eq(exp.ToFloat(_N), 2.0**63)),
    ("pow", exp.Eq(exp.Pow(_F, 2.0), 2.25)),
    ("log", exp.GT(exp.Log(_F, 2.0), 0.5)),
    ("min", exp.Eq(exp.Min(_N, 1), 1)),
    ("max", exp.Eq(exp.Max(_N, 1), 1)),
    ("float min", exp.Eq(exp.Min(_F, 1.0), 1.0)),
    ("and bits", exp.Eq(exp.IntAnd(_N, 1), 1)),
    ("or bits", exp.Eq(exp.IntOr(_N, 8), 9)),
    ("xor bits", exp.Eq(exp.IntXOr(_N, 1), 0)),
    ("not bits", exp.Eq(exp.IntNot(_N), 6)),
    ("left", exp.Eq(exp.IntLeftShift(_N, 2), 4)),
    ("right", exp.GT(exp.IntRightShift(_N, 60), 5)),
    ("right signed", exp.Eq(exp.IntArithmeticRightShift(_N, 1), -4)),
    ("count", exp.Eq(exp.IntCount(_N), 63)),
    ("left scan", exp.Eq(exp.IntLeftScan(_N, True), 63)),
    ("left scan none", exp.Eq(exp.IntLeftScan(_N, True), -1)),
    ("right scan", exp.Eq(exp.IntRightScan(_N, True), 63)),
    ("right scan unset", exp.Eq(exp.IntRightScan(_N, False), 62)),
]

_ICASE, _EXTENDED, _NEWLINE = (
    aerospike.REGEX_ICASE,
    aerospike.REGEX_EXTENDED,
    aerospike.REGEX_NEWLINE,
)

TEXTS: list[Case] = [
    ("regex", exp.CmpRegex(aerospike.REGEX_NONE, "b", _S)),
    ("regex anchors", exp.CmpRegex(aerospike.REGEX_NONE, "^a.c$", _S)),
    ("regex escaped", exp.CmpRegex(aerospike.REGEX_NONE, r"^a\.c", _S)),
    ("regex icase", exp.CmpRegex(_ICASE, "^ABC$", _S)),
    ("regex extended", exp.CmpRegex(_EXTENDED, "^(a|G)[bcr]+", _S)),
    ("regex basic plus", exp.CmpRegex(aerospike.REGEX_NONE, "b+c", _S)),
    ("regex newline", exp.CmpRegex(_NEWLINE, "^b$", _S)),
    ("regex dot and newline", exp.CmpRegex(_EXTENDED, "^a.b$", _S)),
    ("regex umlaut", exp.CmpRegex(_EXTENDED, "^Grüße$", _S)),
    ("regex dot is a byte", exp.CmpRegex(_EXTENDED, "^Gr.+e$", _S)),
    ("regex two dots", exp.CmpRegex(_EXTENDED, "^Gr..{1}.{2}e$", _S)),
    ("regex class", exp.CmpRegex(_EXTENDED, "^[[:alpha:]]+$", _S)),
    ("regex empty", exp.CmpRegex(aerospike.REGEX_NONE, "", _S)),
    ("key", exp.Eq(exp.KeyStr(), "a")),
    ("key prefix", exp.CmpRegex(aerospike.REGEX_NONE, "^[a-c]", exp.KeyStr())),
    ("key of another type", exp.GE(exp.KeyInt(), 0)),
    ("key blob", exp.Eq(exp.KeyBlob(), bytearray(b"a"))),
    ("key exists", exp.KeyExists()),
]

METADATA: list[Case] = [
    ("never expires", exp.Eq(exp.TTL(), -1)),
    ("expires", exp.And(exp.GT(exp.TTL(), 900), exp.LE(exp.TTL(), 1000))),
    ("void time never", exp.Eq(exp.VoidTime(), -1)),
    ("void time", exp.GT(exp.VoidTime(), 1_500_000_000_000_000_000)),
    ("last update", exp.GT(exp.LastUpdateTime(), 1_500_000_000_000_000_000)),
    ("last update too late", exp.GT(exp.LastUpdateTime(), 4_000_000_000_000_000_000)),
    ("since update", exp.LT(exp.SinceUpdateTime(), 600_000)),
    ("no tombstones", exp.IsTombstone()),
    ("record size", exp.GT(exp.RecordSize(), 80)),
    ("record size in blocks", exp.Eq(exp.Mod(exp.RecordSize(), 16), 0)),
    ("other set", exp.Eq(exp.SetName(), "nosuchset")),
    ("digest modulo", exp.Eq(exp.DigestMod(1), 0)),
]

LISTS: list[Case] = [
    ("size", exp.Eq(lists.ListSize(None, _L), 3)),
    ("value count", exp.GT(lists.ListGetByValue(None, _COUNT, 1, _L), 0)),
    ("value count twice", exp.Eq(lists.ListGetByValue(None, _COUNT, "x", _L), 2)),
    ("value exists", lists.ListGetByValue(None, _EXISTS, "y", _L)),
    ("float is no int", lists.ListGetByValue(None, _EXISTS, 1.0, _L)),
    ("null in list", lists.ListGetByValue(None, _EXISTS, None, _L)),
    ("list in list", exp.Eq(lists.ListGetByValue(None, _COUNT, [1, 2], _L), 1)),
    ("value not there", exp.Eq(lists.ListGetByValue(None, _COUNT, 99, _L), 0)),
    ("any of", exp.GT(lists.ListGetByValueList(None, _COUNT, [3, "y"], _L), 0)),
    ("any of exists", lists.ListGetByValueList(None, _EXISTS, [3, "y"], _L)),
    ("range count", exp.Eq(lists.ListGetByValueRange(None, _COUNT, 2, 4, _L), 2)),
    ("range open", exp.Eq(lists.ListGetByValueRange(None, _COUNT, 2, None, _L), 2)),
    ("at index", exp.Eq(lists.ListGetByIndex(None, _VALUE, ResultType.INTEGER, 0, _L), 1)),
    ("at the end", exp.Eq(lists.ListGetByIndex(None, _VALUE, ResultType.STRING, -1, _L), "x")),
    ("beyond", exp.Eq(lists.ListGetByIndex(None, _VALUE, ResultType.INTEGER, 9, _L), 1)),
    (
        "index of another type",
        exp.Eq(lists.ListGetByIndex(None, _VALUE, ResultType.FLOAT, 0, _L), 1.0),
    ),
    ("at rank", exp.Eq(lists.ListGetByRank(None, _VALUE, ResultType.INTEGER, -1, _L), 3)),
    ("indexes of", exp.Eq(lists.ListGetByValue(None, _INDEX, "x", _L), [0, 2])),
    ("reversed indexes of", exp.Eq(lists.ListGetByValue(None, _REVERSED, "y", _L), [1])),
    ("ranks of", exp.Eq(lists.ListGetByValue(None, _RANK, "x", _L), [0, 1])),
    ("reversed ranks of", exp.Eq(lists.ListGetByValue(None, _REVRANK, 3, _L), [0])),
    ("index range", exp.Eq(lists.ListGetByIndexRange(None, _VALUE, 1, 2, _L), [2, 3])),
    ("rank range", exp.Eq(lists.ListGetByRankRange(None, _COUNT, 0, 2, _L), 2)),
    ("index range to end", exp.Eq(lists.ListGetByIndexRangeToEnd(None, _VALUE, 1, _L), [2, 3])),
]

_INT, _STR, _LIST = ResultType.INTEGER, ResultType.STRING, ResultType.LIST
_NESTED = [cdt_ctx.cdt_ctx_map_key("j")]
_DEEPER = [cdt_ctx.cdt_ctx_map_key("j"), cdt_ctx.cdt_ctx_map_key("i")]

MAPS: list[Case] = [
    ("map size", exp.Eq(maps.MapSize(None, _M), 2)),
    ("key value", exp.Eq(maps.MapGetByKey(None, _MAP_VALUE, _INT, "k", _M), 1)),
    ("key value text", exp.Eq(maps.MapGetByKey(None, _MAP_VALUE, _STR, "k", _M), "v")),
    ("key greater", exp.GE(maps.MapGetByKey(None, _MAP_VALUE, _INT, "k", _M), 1)),
    ("key count", exp.Eq(maps.MapGetByKey(None, _MAP_COUNT, _INT, "k", _M), 1)),
    ("key count none", exp.Eq(maps.MapGetByKey(None, _MAP_COUNT, _INT, "none", _M), 0)),
    ("map key exists", maps.MapGetByKey(None, _MAP_EXISTS, ResultType.BOOLEAN, "k", _M)),
    ("integer key", exp.Eq(maps.MapGetByKey(None, _MAP_VALUE, _INT, 1, _M), 2)),
    ("any key of", exp.GT(maps.MapGetByKeyList(None, _MAP_COUNT, ["z", 1], _M), 0)),
    ("value in map", exp.GT(maps.MapGetByValue(None, _MAP_COUNT, 7, _M), 0)),
    ("key range", exp.GT(maps.MapGetByKeyRange(None, _MAP_COUNT, "j", "l", _M), 1)),
    ("value range", exp.GT(maps.MapGetByValueRange(None, _MAP_COUNT, 1, 8, _M), 0)),
    ("keys of value", exp.Eq(maps.MapGetByValue(None, _MAP_KEY, 7, _M), ["k"])),
    ("map index", exp.Eq(maps.MapGetByIndex(None, _MAP_KEY, _STR, 0, _M), "j")),
    ("map rank", exp.Eq(maps.MapGetByRank(None, _MAP_VALUE, _INT, 0, _M), 7)),
    ("nested", exp.Eq(maps.MapGetByKey(_NESTED, _MAP_VALUE, _LIST, "i", _M), [5, 6])),
    ("nested count", exp.Eq(maps.MapGetByKey(_NESTED, _MAP_COUNT, _INT, "i", _M), 1)),
    ("nested twice", exp.Eq(lists.ListGetByIndex(_DEEPER, _VALUE, _INT, 1, _M), 6)),
    ("nested size", exp.Eq(lists.ListSize(_DEEPER, _M), 2)),
    ("list of map", exp.Eq(maps.MapGetByKey(None, _MAP_VALUE, _LIST, "z", _M), [1, 2])),
    (
        "of another read",
        exp.Eq(lists.ListSize(None, maps.MapGetByKey(None, _MAP_VALUE, _LIST, "z", _M)), 2),
    ),
    ("key is nil", exp.Eq(maps.MapGetByKey(None, _MAP_VALUE, ResultType.NIL, "k", _M), None)),
    ("key is not nil", exp.NE(maps.MapGetByKey(None, _MAP_VALUE, ResultType.NIL, "k", _M), None)),
    ("no key is nil", exp.Eq(maps.MapGetByKey(None, _MAP_VALUE, ResultType.NIL, "none", _M), None)),
    (
        "key is nil and a text",
        exp.Eq(maps.MapGetByKey(None, _MAP_VALUE, _STR, "k", _M), exp.StrBin("s")),
    ),
    ("map equality", exp.Eq(_M, aerospike.KeyOrderedDict({"k": 7, "z": [1, 2]}))),
    ("map inequality", exp.NE(_M, aerospike.KeyOrderedDict({"k": 7}))),
    ("unordered map equality", exp.Eq(_M, {"k": 1})),
]

CASES = [*COMPARISONS, *LOGIC, *ARITHMETIC, *TEXTS, *METADATA, *LISTS, *MAPS]
