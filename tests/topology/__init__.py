"""Real topologies for tests: clusters, Sentinels, TLS and ACL users, each of private processes."""

from topology.acl import with_user
from topology.cluster import Cluster, cluster
from topology.nodes import Node
from topology.sentinel import Sentinels, sentinels
from topology.tls import TlsServer, tls_server

__all__ = [
    "Cluster",
    "Node",
    "Sentinels",
    "TlsServer",
    "cluster",
    "sentinels",
    "tls_server",
    "with_user",
]
