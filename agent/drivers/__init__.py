"""How a game's processes are run: as plain processes of this machine, or in containers. One contract for both."""
