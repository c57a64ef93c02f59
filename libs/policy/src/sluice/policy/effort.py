"""A limit on how many rules are compared, for those who lint beside other work."""


class TooMuch(Exception):
    """More rules would have to be compared with each other than was allowed."""


class Effort:
    """Counts comparisons.

    Args:
        most: the maximum; None: no limit.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._spent = 0

    def spend(self, comparisons: int) -> None:
        """Count these, before they are made.

        Raises:
            TooMuch: they are more than are left.
        """
        self._spent += comparisons
        if self._most is not None and self._spent > self._most:
            raise TooMuch
