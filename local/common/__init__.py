"""What every stand-in needs: a locked data folder, an SQLite file that is checked at opening, group commit, plain errors."""
