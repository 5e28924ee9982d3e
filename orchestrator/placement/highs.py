"""HiGHS without its greeting."""

import highspy


class Highs(highspy.Highs):  # type: ignore[misc]  # highspy has no types
    """It greets on standard output when callbacks are set up, before any option can be; a replay answers there."""

    def enableCallbacks(self) -> None:  # noqa: N802 (highspy's name)
        self.silent()
        super().enableCallbacks()
