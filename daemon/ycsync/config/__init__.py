"""What did the user ask for? YAML and the environment in, frozen `Settings` and `Secrets` out.

Nothing here is global and nothing is read behind the caller's back: the text, the path and the environment
are arguments. Every mistake in a file is reported at once, each with its line, as `errors.ConfigError`.
"""

from __future__ import annotations

from ycsync.config.durations import format_duration, parse_duration
from ycsync.config.edit import NotWritable, backup_path, reset_preset, use_preset
from ycsync.config.files import INSTALLED, InForce, Loaded, find_config, load
from ycsync.config.parse import parse_settings
from ycsync.config.secrets import Secrets, load_secrets
from ycsync.config.settings import (
    BUILT_IN_PRESETS,
    RESTART_KEYS,
    STREAMS,
    DatabaseSettings,
    History,
    Hooks,
    Http,
    Log,
    Preset,
    SalonSettings,
    Settings,
    Yclients,
    needs_restart,
    preset_keys,
)
from ycsync.config.tokens import SalonTokens

__all__ = [
    "BUILT_IN_PRESETS",
    "INSTALLED",
    "RESTART_KEYS",
    "STREAMS",
    "DatabaseSettings",
    "History",
    "Hooks",
    "Http",
    "InForce",
    "Loaded",
    "Log",
    "NotWritable",
    "Preset",
    "SalonSettings",
    "SalonTokens",
    "Secrets",
    "Settings",
    "Yclients",
    "backup_path",
    "find_config",
    "format_duration",
    "load",
    "load_secrets",
    "needs_restart",
    "parse_duration",
    "parse_settings",
    "preset_keys",
    "reset_preset",
    "use_preset",
]
