"""Lambda's context object."""

import os
import time


class Config:
    """What the environment says of the function. Read again after a restore, which may change it."""

    def __init__(self):
        get = os.environ.get
        self.name = get("AWS_LAMBDA_FUNCTION_NAME", "")
        self.version = get("AWS_LAMBDA_FUNCTION_VERSION", "")
        self.memory = get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        self.log_group = get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream = get("AWS_LAMBDA_LOG_STREAM_NAME")
        region = get("AWS_REGION") or get("AWS_DEFAULT_REGION") or "us-east-1"
        self.arn = "arn:aws:lambda:%s:012345678912:function:%s" % (region, self.name)


class CognitoIdentity:
    cognito_identity_id = None
    cognito_identity_pool_id = None

    def __repr__(self):
        return "CognitoIdentity([cognito_identity_id=%s,cognito_identity_pool_id=%s])" % (
            self.cognito_identity_id,
            self.cognito_identity_pool_id,
        )


class LambdaContext:
    client_context = None
    tenant_id = None

    def __init__(self, config, request_id, deadline_ms, remaining_ns):
        self.aws_request_id = request_id
        self.function_name = config.name
        self.function_version = config.version
        self.memory_limit_in_mb = config.memory
        self.invoked_function_arn = config.arn
        self.log_group_name = config.log_group
        self.log_stream_name = config.log_stream
        self.identity = CognitoIdentity()
        self._epoch_deadline_time_in_ms = deadline_ms
        self._deadline_ns = time.monotonic_ns() + remaining_ns

    def get_remaining_time_in_millis(self):
        """By the monotonic clock: steps of the wall's do not move it."""
        return max((self._deadline_ns - time.monotonic_ns()) // 1000000, 0)

    def log(self, message):
        """One record, as the platform makes of it."""
        from _fsbox.log import write_record

        write_record(str(message))

    def __repr__(self):
        names = (
            "aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb",
            "function_version", "invoked_function_arn", "client_context", "identity", "tenant_id",
        )
        return "LambdaContext([%s])" % ",".join("%s=%s" % (n, getattr(self, n)) for n in names)
