"""The DICOM Upper Layer (PS3.8) and DIMSE messages (PS3.7): engines without I/O, and associations over asyncio."""
