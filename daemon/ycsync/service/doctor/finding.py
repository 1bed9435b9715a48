"""What does one look find, and how does a look that fails or hangs say so instead of stopping the others?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ycsync.errors import YcsyncError

Level = Literal["ok", "warn", "fail", "skipped"]

DOCTOR_JSON = """\
One object:
  ok         true: nothing failed (exit code 0)
  findings   area, level: ok | warn | fail | skipped, says, remedy ("": nothing to do)
New keys may be added; none is renamed or removed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `says`: what is so; `remedy`: what to do, for "warn" and "fail"."""

    area: str
    level: Level
    says: str
    remedy: str = ""


Findings = list[Finding]


def well(findings: Sequence[Finding]) -> bool:
    """Nothing failed; warnings are for a quiet hour."""
    return all(one.level != "fail" for one in findings)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The object of `doctor --json`, see DOCTOR_JSON."""
    return {"ok": well(findings), "findings": [asdict(one) for one in findings]}


async def looked(area: str, look: Awaitable[Findings], within_s: float) -> Findings:
    """What `look` found; that it took too long or ended badly is a finding too."""
    try:
        async with asyncio.timeout(within_s):
            return await look
    except TimeoutError:
        return [
            Finding(
                area, "fail", f"no answer within {within_s:.0f} s", "Look at what is said before and after this, then again."
            )
        ]
    except YcsyncError as error:
        return [Finding(area, "fail", str(error))]
    except Exception as error:
        return [
            Finding(area, "fail", f"could not be looked at ({type(error).__name__})", "A fault of ycsync: please report it.")
        ]
