"""DICOMweb (PS3.18): QIDO-RS, WADO-RS, WADO-URI and STOW-RS on the archive."""
