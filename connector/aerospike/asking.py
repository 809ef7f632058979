"""What to ask the servers for to read a scan: bins, a condition, a secondary index."""

from __future__ import annotations

import functools
from base64 import b64decode
from dataclasses import dataclass, replace
from typing import Any

from aerospike_helpers import expressions as exp

from connector.aerospike import indexes
from connector.aerospike.choices import Replica, Wire
from connector.aerospike.connecting import Connection
from connector.aerospike.expressions import Expression, compiled
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.partitions import DigestRange
from connector.aerospike.projecting import Pass, conjunction
from connector.aerospike.projecting import passes as passes_of
from connector.aerospike.records import METADATA, Layout
from connector.aerospike.records import layout as layout_of
from connector.aerospike.saved import model_of
from connector.aerospike.wire.messages import Request
from connector.aerospike.wire.particles import is_flat
from connector.aerospike.wire.scanning import WireScan
from connector.filters import And, FieldTest, Filter, IsNull, Not, Or, all_of, conjuncts
from connector.reads import OnBadField
from connector.scan import Scan
from connector.schema import is_inferred

_SAMPLED = 999_983  # a prime: a share of its residues is chosen apart from those of partitions


@dataclass(frozen=True)
class Asking:
    """What to ask for to read one scan.

    Attributes:
        scan: what is read.
        connection: the client, asked for versions and indexes.
        options: of the store.
        key_bins: whether the key columns are stored as bins.
    """

    scan: Scan
    connection: Connection
    options: AerospikeOptions
    key_bins: bool

    @functools.cached_property
    def layout(self) -> Layout:
        """Where the columns are found in a record."""
        names = dict(self.options.bin_names)
        return layout_of(self.scan.unfiltered, names, key_bins=self.key_bins)

    @functools.cached_property
    def passes(self) -> list[Pass]:
        """The queries that together give every record.

        Raises:
            OptionError: a column is wanted that a node cannot tell.
        """
        bins = self.layout.names
        builds = self.connection.builds
        return passes_of(bins, builds, whole=self._whole, some_needed=self._some_needed)

    @property
    def _whole(self) -> bool:
        """Whether every column is wanted of a table whose columns are known, and not given by a user."""
        scan = self.scan
        known = is_inferred(scan.schema) or model_of(scan.schema) is not None
        keyed = () if self.key_bins else scan.key
        return (
            known
            and not self.layout.updated
            and {*scan.schema.names} <= {*self.layout.bins, *keyed, *METADATA.names}
        )

    @property
    def _some_needed(self) -> bool:
        """Whether the filter lets only records through that have one of the bins."""
        return self.scan.filter is not None and any(
            isinstance(term, FieldTest)
            and not isinstance(term, IsNull)
            and term.path[0] in self.layout.bins
            for term in conjuncts(self.scan.filter)
        )

    @functools.cached_property
    def condition(self) -> Expression | None:
        """What the server can tell of the rows that are wanted."""
        scan = self.scan
        wanted = []
        if scan.filter is not None:
            key, bins = () if self.key_bins else scan.key, dict(self.options.bin_names)
            terms = conjuncts(scan.filter)
            if self.options.on_bad_field is OnBadField.NULL:  # which to the server is no null
                terms = tuple(term for term in terms if not _asks_for_nulls(term))
            if (told := all_of(terms)) is not None:
                wanted.append(compiled(told, scan.schema, key, bins=bins))
        if scan.sample is not None:
            wanted.append(exp.LT(exp.DigestMod(_SAMPLED), round(scan.sample * _SAMPLED)))
        return conjunction(*wanted)

    @functools.cached_property
    def _index_use(self) -> indexes.IndexUse | None:
        """The secondary index to ask in place of a scan."""
        scan, options = self.scan, self.options
        if options.sindex == indexes.OFF or (
            scan.filter is None and options.sindex == indexes.AUTO
        ):
            return None
        listed = f"sindex-list:namespace={options.in_namespace};b64=true"
        first, *others = [indexes.parse(answer) for answer in self.connection.info(listed)]
        known = [
            replace(one, ready=one.ready and all(one in some for some in others)) for one in first
        ]
        return indexes.chosen(
            scan.filter,
            scan.schema,
            known,
            options.sindex,
            table=scan.table,
            key=() if self.key_bins else scan.key,
            bins=dict(options.bin_names),
        )

    @property
    def by_wire(self) -> bool:
        """Whether scans go over the columnar wire."""
        layout, options = self.layout, self.options
        fields = [*layout.key, *(layout.scan.output.field(name) for name in layout.bins)]
        return (
            options.wire is Wire.AUTO
            and not (options.tls or options.compression or options.login[0] is not None)
            and options.replica in (Replica.SEQUENCE, Replica.MASTER)
            and self._index_use is None
            and not layout.updated
            and all(is_flat(field.type) for field in fields)
        )

    def wire_scan(self, partition: DigestRange, one: Pass, doing: str) -> WireScan:
        """What asks for one of the passes over the columnar wire."""
        options = self.options
        wanted = self._wanted(partition, one)
        packed = None
        if wanted is not None:
            packed = b64decode(self.connection.client.get_expression_base64(wanted.compile()))
        request = Request(
            namespace=options.in_namespace,
            set=self.scan.table,
            bins=one.operations or one.bins,
            every_record=bool(one.operations),
            no_bins=one.no_bins,
            condition=packed,
            records_per_second=options.records_per_second,
            timeout_ms=round(options.socket_timeout_seconds * 1000),
        )
        return WireScan(
            self.connection.cluster, request, self.layout.names, doing, options.failover_seconds
        )

    def query(self, one: Pass) -> Any:
        """A query of the client that asks for one of the passes.

        Raises:
            OptionError: a secondary index is named that cannot be asked.
        """
        query = self.connection.client.query(self.options.in_namespace, self.scan.table)
        if self._index_use is not None:
            query.where(self._index_use.predicate)
        if self.options.records_per_second is not None:
            query.records_per_second = self.options.records_per_second
        one.prepare(query)
        return query

    def policy(self, partition: DigestRange, one: Pass) -> dict[str, Any]:
        """With what that query is run over some partitions."""
        return {"partition_filter": partition.partitions} | _filtering(self._wanted(partition, one))

    def _wanted(self, partition: DigestRange, one: Pass) -> Expression | None:
        residue = None
        if partition.modulo > 1:
            residue = exp.Eq(exp.DigestMod(partition.modulo), partition.residue)
        return conjunction(residue, self.condition, one.condition)

    @functools.cached_property
    def key_policy(self) -> dict[str, Any]:
        """With what records are read by their keys."""
        return _filtering(self.condition)


def _filtering(condition: Expression | None) -> dict[str, Any]:
    return {} if condition is None else {"expressions": condition.compile()}


def _asks_for_nulls(filter: Filter) -> bool:
    if isinstance(filter, And | Or):
        return any(map(_asks_for_nulls, filter.terms))
    return _asks_for_nulls(filter.term) if isinstance(filter, Not) else isinstance(filter, IsNull)
