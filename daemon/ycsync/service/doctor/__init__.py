"""What can be wrong with an installation, and what is to be done about each?

Looking changes nothing, but the schema is made if requests have to be counted in it.
"""

from __future__ import annotations

from ycsync.service.doctor.examine import examine
from ycsync.service.doctor.finding import Finding, as_json, well

__all__ = ["Finding", "as_json", "examine", "well"]
