"""The main job of Skerry as a user sees it, on one machine, with real parts: `make demo`."""
