"""Where resources live: stores that implement :class:`fhir_server.core.ports.ResourceStore`."""
