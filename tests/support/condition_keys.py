"""Which condition keys each kind of policy may use. AWS gives a key only in some kinds of policy, and elsewhere the
condition is false without a word. Only the keys that the templates use are listed, each with AWS's page.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

_EVERYWHERE = (
    "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalIsAWSService", "aws:PrincipalTag/*",
    "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn",
)  # fmt: skip
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html"""

_S3 = (
    "s3:ObjectCreationOperation", "s3:if-none-match", "s3:prefix", "s3:x-amz-acl", "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-customer-algorithm", "s3:x-amz-storage-class",
)  # fmt: skip
"""https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html"""

_KMS = ("kms:CallerAccount", "kms:EncryptionContext:*", "kms:ViaService")
"""Keys of which https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html says "key policies and IAM
policies"."""

_KMS_IDENTITY_ONLY = ("kms:ResourceAliases",)
"""Of these it says "IAM policies only"."""

_SQS_IDENTITY_ONLY = ("aws:ResourceTag/*",)
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-abac-tagging-resource-control.html"""

KEYS: Mapping[str, tuple[str, ...]] = {
    "identity": (*_EVERYWHERE, *_S3, *_KMS, *_KMS_IDENTITY_ONLY, *_SQS_IDENTITY_ONLY),
    "bucket": (*_EVERYWHERE, *_S3),
    "queue": _EVERYWHERE,
    "key": (*_EVERYWHERE, *_KMS),
    "endpoint": _EVERYWHERE,
}
"""The condition keys that each kind of policy may use; * stands for any characters."""


def unusable(kind: str, document: Mapping[str, Any]) -> Iterator[str]:
    """The document's condition keys that AWS does not give in this kind of policy."""
    for statement in document["Statement"]:
        for keys in statement.get("Condition", {}).values():
            for key in keys:
                if not any(fnmatchcase(key, allowed) for allowed in KEYS[kind]):
                    yield key
