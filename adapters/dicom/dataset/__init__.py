"""Data sets: elements, values and character sets (PS3.5), files (PS3.10) and the DICOM JSON model (PS3.18 F)."""
