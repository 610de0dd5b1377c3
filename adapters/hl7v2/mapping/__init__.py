"""The mapping of HL7 v2 messages to FHIR resources: tables as data (``maps/``) and the engine that runs them."""
