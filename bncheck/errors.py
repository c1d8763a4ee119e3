"""What bncheck raises, each error a sentence that shows the value and the way out."""


class BncheckError(Exception):
    """The base of every error that bncheck raises on purpose."""


class InvalidInput(BncheckError, ValueError):
    """A value that cannot be used; the message shows it and says what can be."""


class TargetError(BncheckError):
    """The code under test gave no answer: it did not load, is missing a piece, or raised."""


class NotImplementedYet(TargetError):
    """A function of the code under test returned None, as one does that is not written yet."""
