"""The two ways a command can end badly; everything else is a defect of ours."""


class InputError(Exception):
    """What was given cannot be used: one line that says what, where, and what to do. Exit status 2."""


class WorkError(Exception):
    """The work itself failed: one line that says what, where, and what to do. Exit status 1."""
