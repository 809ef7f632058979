"""Tables in Aerospike."""

from connector.aerospike.options import AerospikeOptions
from connector.aerospike.store import AerospikeStore

__all__ = ["AerospikeOptions", "AerospikeStore"]
