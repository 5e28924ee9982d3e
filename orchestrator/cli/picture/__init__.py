"""A placement as a picture: what is shown of it, where that goes, and the file. Only the last needs matplotlib."""
