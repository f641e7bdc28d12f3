"""`meridian`: the command line. It uses the public API alone, as any other program would."""
