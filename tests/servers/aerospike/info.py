"""Info requests: questions and orders in text."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from .clock import from_unix_ns, now_ms
from .indexes import TYPES, Index, Indexes
from .records import PARTITIONS, Namespace, Set

NODE = "BB9000000000C01"
FEATURES = (
    "batch-any;batch-index;blob-bits;cdt-index;cdt-list;cdt-map;cluster-stable;float;geo;sindex-exists"
    ";peers;pipelining;pquery;pscans;query-show;relaxed-sc;replicas;replicas-all;replicas-master"
    ";replicas-max;truncate-namespace;udf"
)

_UNKNOWN = "ERROR:4:unrecognized command"
_ENTERPRISE = "ERROR:25:enterprise only"
_NO_NAMESPACE = "ERROR:20:namespace not found on node"
_NO_INDEX = "ERROR:201:no index"


@dataclass(frozen=True, slots=True)
class Info:
    """Answers info requests."""

    namespace: Namespace
    indexes: Indexes
    address: str
    build: str

    def answer(self, request: str) -> str:
        """The answer to one request, such as ``sets/test`` or ``truncate:namespace=test``."""
        if (fixed := self._fixed().get(request)) is not None:
            return fixed
        command, _, arguments = request.partition(":")
        parameters = dict(part.partition("=")[::2] for part in arguments.split(";") if part)
        if command in _ORDERS:
            return _ORDERS[command](self, parameters)
        command, *path = request.split("/")
        if command in _PATHS and path:
            return _PATHS[command](self, path)
        return _UNKNOWN

    def _fixed(self) -> dict[str, str]:
        name = self.namespace.name
        owned = base64.b64encode(b"\xff" * (PARTITIONS // 8)).decode()
        return {
            "node": NODE,
            "build": self.build,
            "version": f"Aerospike test server build {self.build}",
            "edition": "Aerospike Community Edition",
            "features": FEATURES,
            "status": "ok",
            "partitions": str(PARTITIONS),
            "partition-generation": "0",
            "rebalance-generation": "1",
            "peers-generation": "0",
            "peers-clear-std": f"0,{self.address.rpartition(':')[2]},[]",
            "peers-clear-alt": f"0,{self.address.rpartition(':')[2]},[]",
            "peers-tls-std": _ENTERPRISE,
            "peers-tls-alt": _ENTERPRISE,
            "service": self.address,
            "service-clear-std": self.address,
            "service-clear-alt": "",
            "rack-ids": _ENTERPRISE,
            "cluster-name": "null",
            "replicas": f"{name}:0,1,{owned}",
            "namespaces": name,
            "sets": self._sets([]),
            "sindex-list": self._index_list({}),
            "statistics": self._statistics(),
        }

    def _statistics(self) -> str:
        facts = {
            "cluster_size": 1,
            "cluster_principal": NODE,
            "cluster_integrity": "true",
            "cluster_clock_skew_stop_writes_sec": 0,
            "cluster_clock_skew_ms": 0,
            "objects": sum(1 for _ in self.namespace.all()),
            "tombstones": 0,
            "migrate_partitions_remaining": 0,
        }
        return ";".join(f"{name}={value}" for name, value in facts.items())

    def _namespace(self, path: list[str]) -> str:
        if path[0] != self.namespace.name:
            return "type=unknown"
        self.namespace.expire()
        records = list(self.namespace.all())
        used = sum(record.data_bytes() for record in records)
        facts = {
            "ns_cluster_size": 1,
            "effective_replication_factor": 1,
            "objects": len(records),
            "tombstones": 0,
            "master_objects": len(records),
            "prole_objects": 0,
            "unavailable_partitions": 0,
            "dead_partitions": 0,
            "stop_writes": "false",
            "current_time": now_ms() // 1000,
            "truncate_lut": self.namespace.truncate_lut,
            "data_used_bytes": used,
            "max-record-size": 1 << 20,
            "default-ttl": 0,
            "nsup-period": 1,
            "replication-factor": 1,
            "storage-engine": "memory",
        }
        return ";".join(f"{name}={value}" for name, value in facts.items())

    def _sets(self, path: list[str]) -> str:
        if path and path[0] != self.namespace.name:
            return "ns_type=unknown"
        self.namespace.expire()
        sets = self.namespace.sets
        if len(path) > 1:
            found = sets.get(path[1].encode())
            return f"{self._set(path[1].encode(), found)};" if found is not None else ""
        name = self.namespace.name
        return "".join(
            f"ns={name}:set={set_name.decode()}:{self._set(set_name, found)};"
            for set_name, found in sets.items()
        )

    def _set(self, name: bytes, found: Set) -> str:
        indexes = sum(index.set_name == name for index in self.indexes.all.values())
        return (
            f"objects={found.objects}:tombstones=0:data_used_bytes={found.data_bytes}"
            f":truncate_lut={found.truncate_lut}:sindexes={indexes}:index_populating=false"
            ":truncating=false:default-read-touch-ttl-pct=0:default-ttl=0:disable-eviction=false"
            ":enable-index=false:stop-writes-count=0:stop-writes-size=0"
        )

    def _index_list(self, parameters: dict[str, str]) -> str:
        name = parameters.get("namespace", parameters.get("ns", self.namespace.name))
        if name != self.namespace.name:
            return f"{_NO_NAMESPACE};{_NO_NAMESPACE}"
        return ";".join(
            f"ns={name}:indexname={index.name}:set={index.set_name.decode() or 'null'}"
            f":bin={index.bin.decode()}:type={index.type}:indextype={index.collection}:context=null:exp=null"
            ":state=RW"
            for index in self.indexes.all.values()
        )

    def _index_path(self, path: list[str]) -> str:
        if len(path) == 1:
            return self._index_list({"namespace": path[0]})
        return self._index_statistics({"namespace": path[0], "indexname": path[1]})

    def _index_statistics(self, parameters: dict[str, str]) -> str:
        index = self.indexes.all.get(parameters.get("indexname", ""))
        if index is None:
            return _NO_INDEX
        entries = sum(index.covers(record) for record in self.namespace.all())
        return (
            f"entries={entries};used_bytes=16777216;entries_per_bval=1;entries_per_rec=1"
            ";load_pct=100;load_time=0;stat_gc_recs=0"
        )

    def _index_exists(self, parameters: dict[str, str]) -> str:
        return str(parameters.get("indexname") in self.indexes.all).lower()

    def _index_create(self, parameters: dict[str, str]) -> str:
        name = parameters.get("namespace", parameters.get("ns"))
        if name != self.namespace.name:
            return _NO_NAMESPACE
        kind = parameters.get("type", "").lower()
        if kind not in TYPES:
            return "ERROR:4:bad 'type' - must be one of 'numeric', 'string', 'blob', 'geo2dsphere'"
        index = Index(
            parameters["indexname"],
            parameters.get("set", "").encode(),
            parameters.get("bin", "").encode(),
            kind,
            parameters.get("indextype", "default").lower(),
        )
        if self.indexes.create(index):
            return "ok"
        return "ERROR:200:'indexname' already exists with different definition"

    def _index_delete(self, parameters: dict[str, str]) -> str:
        self.indexes.drop(parameters.get("indexname", ""))
        return "ok"

    def _truncate(self, parameters: dict[str, str]) -> str:
        if "namespace" not in parameters:
            return "ERROR:20:missing 'namespace'"
        now = now_ms()
        before = now
        if "lut" in parameters:
            text = parameters["lut"]
            before = from_unix_ns(int(text)) if text.isdecimal() else 0
            if before == 0:
                return "ERROR:4:would truncate to 0"
            if before > now:
                return "ERROR:4:would truncate in the future"
        if parameters["namespace"] == self.namespace.name:
            self.namespace.truncate(parameters.get("set", "").encode(), before)
        return "ok"


_ORDERS: dict[str, Callable[[Info, dict[str, str]], str]] = {
    "sindex-list": Info._index_list,
    "sindex-stat": Info._index_statistics,
    "sindex-exists": Info._index_exists,
    "sindex-create": Info._index_create,
    "sindex-delete": Info._index_delete,
    "truncate": Info._truncate,
    "truncate-namespace": Info._truncate,
    "rack-ids": lambda info, parameters: _ENTERPRISE,
}
_PATHS: dict[str, Callable[[Info, list[str]], str]] = {
    "namespace": Info._namespace,
    "sets": Info._sets,
    "sindex": Info._index_path,
}
