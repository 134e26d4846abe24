"""The errors that fedsilo raises on purpose. Each message says what happened, where, and what to do next.

The command and the trainer print only the message of these errors. Any other exception is a defect and keeps its
traceback.
"""


class FedsiloError(Exception):
    """The base of all errors below. Code that catches it never hides a defect."""


class SpecError(FedsiloError):
    """federation.yaml, run.json or a hyperparameter is not valid. The message has one line for each problem."""


class UsageError(FedsiloError):
    """The arguments of a command ask for something impossible. The message has one line for each problem."""


class NotFoundError(FedsiloError):
    """There is no such run, or a party has not written what is asked for."""


class HubError(FedsiloError):
    """A queue or the bucket of the hub is missing, or AWS does not answer in time."""


class AuthenticationError(HubError):
    """AWS can't tell who calls: this machine's clock is wrong, or its credentials are missing, expired or not valid.

    Nobody else caused that, and it may pass. A trainer waits for it (``aws.when_authenticated``); a command does not.
    """


class AccessError(FedsiloError):
    """AWS denied a call. The message says who made the call, and for what."""


class BusyError(FedsiloError):
    """Another process is at work in a folder. The message says which process, and in which folder."""


class DiskError(FedsiloError):
    """A disk of this machine can't be written. The message says which, and what to do."""


class DiskFullError(DiskError):
    """A disk of this machine is full. Another try may help: space may be freed, and a new pod has a new disk."""


class StoreError(FedsiloError):
    """The folder of a silo's own store can't be used. The message says which folder, and why."""


class UnreadableError(FedsiloError):
    """An object is in a foreign storage class, under a foreign key, or too large. Only its writer can do that."""


class WorkloadError(FedsiloError):
    """A workload can't do its part, for a reason that its author wrote for everybody.

    Of all other exceptions of a workload, only the type and the place leave the silo. The message of this one leaves it
    too, and the operator and the other parties read it. It says where a value is, and never what the value is. It has
    one line for each problem.
    """


class MailError(FedsiloError):
    """A mail is malformed, too large or changed. Only its sender can have caused that."""


class NoticeError(FedsiloError):
    """A notice does not fit the object that it names.

    Every party that may send to the queue may have sent the notice. So no party is blamed, and the notice is dropped.
    """


class RefusedError(FedsiloError):
    """A party's policy, or the aggregator, ended the party's part in a run. The message is the reason."""


class RunError(FedsiloError):
    """A run can't continue: there is no quorum, it was aborted, or the aggregator does not answer."""


class ModelError(FedsiloError):
    """A workload's model can't take part in a run. The message names the tensor and says what is allowed."""


class DeviceError(FedsiloError):
    """The trainer does not have the GPUs that its owner pays for."""


class LauncherError(FedsiloError):
    """A trainer's job can't be created, read or removed. The message says what was asked of whom."""


class LeaseLostError(BaseException):
    """Another agent of the party has taken over. This one may do nothing more, and ends.

    It is not an ``Exception``: nothing that tries again may catch it.
    """


class PackageError(FedsiloError):
    """A package for FedML's platform can't be built, or would contain what it should not.

    The message has one line for each problem.
    """


class StoppedError(BaseException):
    """The process was asked to stop. Its work continues when it is started again.

    A signal handler raises this error, so it can occur anywhere. Like ``KeyboardInterrupt`` it is not an ``Exception``:
    botocore takes an exception for a broken connection and tries the call again.
    """
