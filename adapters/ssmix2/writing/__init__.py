"""Resources that did not come from messages, as the messages of a standard storage."""
