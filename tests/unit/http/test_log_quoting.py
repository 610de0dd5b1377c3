"""What libraries say of odd values quotes them: none of it gets into the log or onto a terminal."""

import subprocess
import sys

READ = """
import io, pydicom, pydicom.data, sys
from fhir_server.http import log
if sys.argv[1] == "quiet":
    log.configure("info", "json")
dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
file = io.BytesIO()
dataset.PatientBirthDate = "SECRET"
dataset.save_as(file)
print(pydicom.dcmread(io.BytesIO(file.getvalue())).PatientBirthDate)
"""


def said(how: str) -> str:
    done = subprocess.run([sys.executable, "-c", READ, how], capture_output=True, text=True, timeout=60, check=True)
    assert "SECRET" in done.stdout
    return done.stderr


def test_a_patient_s_data_in_warnings_are_not_logged() -> None:
    assert "SECRET" in said("loud")
    assert said("quiet") == ""
