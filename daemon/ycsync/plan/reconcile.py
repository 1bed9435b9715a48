"""How often is a salon asked for changes whose webhooks tell of them? Less often as long as they come. Pure.

Webhooks are sent once, and some are lost. So changes are looked for all the same: each `reconcile` while webhooks come, each
cadence when none came for a while or one was missed. A quiet salon sends none either; asking it costs one request a cadence.
"""

from __future__ import annotations

from datetime import timedelta

SILENCE = 2  # times `reconcile` without a webhook: they are not relied on any more


def window(reconcile: timedelta) -> timedelta:
    """For so long webhooks are relied on after the last one, and not relied on after one was missed."""
    return SILENCE * reconcile


def due_in(cadence: timedelta, reconcile: timedelta, silent: timedelta | None, *, lossy: bool = False) -> timedelta:
    """Until the next delta, from the success of one on.

    `silent`: since the last webhook of the salon; None: there never was one. Never sooner than the cadence, and never later
    than one cadence after webhooks ceased to be relied on, should none come from now on.
    """
    if silent is None or lossy or reconcile <= cadence:
        return cadence
    relied_on = window(reconcile) - silent
    if relied_on <= timedelta(0):
        return cadence
    return min(reconcile, max(cadence, relied_on + cadence))
