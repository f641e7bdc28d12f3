"""The program on a customer's machine: it dials out, receives signed commands, and keeps games running by itself."""

__version__ = "0.1.0"
