"""Importing eggs of Pterodactyl and Pelican, with a report of what could not be carried over, and why.

The formats are those of the panels' own exports (PTDL_v1, PTDL_v2, PLCN_v1 to PLCN_v3; JSON and YAML).
"""

from shared.templates.eggs.importer import Imported, import_egg
from shared.templates.eggs.report import Note

__all__ = ["Imported", "Note", "import_egg"]
