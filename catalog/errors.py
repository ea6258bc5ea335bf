"""Errors that a user is meant to read: one sentence that names the file, row or flag, and what would be right."""


class CatalogIndexerError(Exception):
    """The run failed for a reason the user can act on. The command line prints it without a traceback."""

    exit_code = 1


class UsageError(CatalogIndexerError):
    """A flag, a file or a column is not what the command needs."""

    exit_code = 2


class MissingExtraError(UsageError):
    """An optional package is not installed."""


class EncoderMismatchError(UsageError):
    """Vectors of two encoders would be compared."""


class IntegrityError(CatalogIndexerError):
    """Stored bytes are not the bytes that were written."""


class ConflictError(CatalogIndexerError):
    """Somebody else wrote first: a create-only object exists, or a compare-and-swap lost."""


class GateRefusedError(CatalogIndexerError):
    """A version is published, and a gate keeps it off the channel."""

    exit_code = 3


class LockedError(CatalogIndexerError):
    """Another run of the same work is under way."""

    exit_code = 4


def meant_for_user(error: BaseException) -> CatalogIndexerError | None:
    """The error for the user inside what a runner or a library wrapped around it, if there is one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, CatalogIndexerError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
