"""The door of the flow tests."""

from tests.flow.conftest import client, compile_search, context, registry, validator

__all__ = ["client", "compile_search", "context", "registry", "validator"]
