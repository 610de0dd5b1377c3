"""HL7 v2: characters, messages, acknowledgements, MLLP, and the mapping to FHIR."""
