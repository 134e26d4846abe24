"""The errors fedsilo raises on purpose. Each message says what, where, and what to do next.

The command and the trainer print the message alone; any other exception is a defect and keeps its traceback.
"""


class FedsiloError(Exception):
    """Base of all errors below; catching it never hides a defect."""


class SpecError(FedsiloError):
    """federation.yaml, run.json or a hyperparameter is not valid. One line a problem."""


class UsageError(FedsiloError):
    """A command's arguments ask for what there can't be. One line a problem."""


class NotFoundError(FedsiloError):
    """There is no such run, or a party has not written what is asked for."""


class HubError(FedsiloError):
    """A queue or the bucket of the hub is missing, or does not answer in time."""


class AccessError(FedsiloError):
    """AWS denied a call. The message names who asked for what on which resource."""


class MailError(FedsiloError):
    """A mail is not what its notice says: digest, size, format, type, dtype or shape."""


class NoticeError(FedsiloError):
    """A notice does not fit the object that it names.

    Anybody who may send to the queue may have sent it, so nobody is to blame, and the notice is dropped.
    """


class RefusedError(FedsiloError):
    """A party's part in a run was refused, by a policy or by the aggregator, with the reason."""


class RunError(FedsiloError):
    """A run can't go on: no quorum, aborted, or no word from the aggregator."""


class LauncherError(FedsiloError):
    """A trainer's job can't be made, looked at or removed. The message names what was asked of whom."""


class PackageError(FedsiloError):
    """A package for FedML's platform can't be built, or would hold what it should not. One line a problem."""


class StoppedError(BaseException):
    """The process was asked to stop; it continues where it was when it is started again.

    Raised by a signal handler, so anywhere, and like KeyboardInterrupt no ``Exception``: botocore takes one of those
    for a broken connection and tries the call again.
    """
