"""The door of the flow tests, for servers that run in the test's own process."""

from tests.flow.conftest import client, compile_search, context, registry, validator

__all__ = ["client", "compile_search", "context", "registry", "validator"]
