"""The words of Skerry as frozen values: what every other room speaks in. Standard library only, no I/O, no clock."""
