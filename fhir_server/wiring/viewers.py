"""The pages that show images, mounted beside the other APIs of a worker."""

from adapters.dicom.viewer.pages import OHIF, VIEWER, OhifPages, ViewerPages
from fhir_server.http.body import BodyReader
from fhir_server.http.log import AccessLog
from fhir_server.http.metrics import Counters
from fhir_server.http.mount import Mount
from fhir_server.settings import Settings


def viewer_mounts(settings: Settings, counters: Counters, access_log: AccessLog | None) -> tuple[Mount, ...]:
    """Return our own page and OHIF's."""
    bodies = BodyReader(1, 1, settings.body_timeout)  # nothing is sent to them

    def mounted(handle: ViewerPages | OhifPages, prefix: str) -> Mount:
        return Mount(
            handle,
            prefix,
            name="viewer",
            bodies=bodies,
            concurrency=settings.concurrency,
            send_timeout=settings.body_timeout,
            counters=counters,
            access_log=access_log,
            public_url=settings.public_url,
            request_id_prefix="v",
        )

    own = ViewerPages(settings.ohif_folder, prefer_ohif=settings.viewer == "ohif")
    return mounted(own, VIEWER), mounted(OhifPages(settings.ohif_folder), OHIF)
