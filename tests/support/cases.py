"""Which cases of a test are tried: a few in the normal suite, all of them in a soak?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest


def tried(metafunc: pytest.Metafunc, names: str, quick: Sequence[Any], soak: Sequence[Any]) -> None:
    """Parametrize a test by `quick`, or by those and `soak` with --soak. To be called by a module's pytest_generate_tests."""
    cases = list(quick)
    if metafunc.config.getoption("--soak"):
        cases += [case for case in soak if case not in cases]
    metafunc.parametrize(names, cases)
