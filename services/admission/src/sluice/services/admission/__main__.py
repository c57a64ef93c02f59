"""`python -m sluice.services.admission`."""

from sluice.runtime import service
from sluice.services.admission.app import SERVICE, main
from sluice.services.admission.settings import AdmissionSettings

service.run(SERVICE, AdmissionSettings, main)
