"""How rows lie under keys of one type: what is asked for, what is written, and how values are spelled."""

from connector.redis.models.hashes import HashModel
from connector.redis.models.model import Model
from connector.redis.options import ModelName

MODELS: dict[ModelName, Model] = {each.name: each for each in (HashModel(),)}
"""Every model, by name."""
