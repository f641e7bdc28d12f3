"""Importing Pterodactyl eggs (PTDL_v1 and PTDL_v2), with a report of what could not be carried over, and why.

The format is that of the panel's own export: https://github.com/pterodactyl/panel, app/Services/Eggs/Sharing.
"""

from shared.templates.eggs.importer import Imported, import_egg
from shared.templates.eggs.report import Note

__all__ = ["Imported", "Note", "import_egg"]
