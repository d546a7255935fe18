#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {
	[ERR_NONE] = "",
	[ERR_SPEC] = "InvalidSpec",
	[ERR_DENIED] = "Denied",
	[ERR_UNSUPPORTED] = "Unsupported",
	[ERR_LIMIT] = "LimitReached",
	[ERR_NOT_FOUND] = "NotFound",
	[ERR_EXISTS] = "AlreadyExists",
	[ERR_BUSY] = "Busy",
	[ERR_CAPACITY] = "CapacityExhausted",
	[ERR_DEADLINE] = "DeadlineExceeded",
	[ERR_OUT_OF_MEMORY] = "OutOfMemory",
	[ERR_FUNCTION] = "FunctionError",
	[ERR_CRASHED] = "Crashed",
	[ERR_SNAPSHOT_MISMATCH] = "SnapshotMismatch",
	[ERR_CANCELLED] = "Cancelled",
	[ERR_LOST] = "Lost",
	[ERR_SLOW_CONSUMER] = "SlowConsumer",
	[ERR_SYSTEM] = "SystemFailure",
	[ERR_BUG] = "InternalError",
};
_Static_assert(sizeof kind_names / sizeof kind_names[0] == ERR_KIND_COUNT, "a kind without a name");

const char *err_kind_name(enum err_kind kind)
{
	return (unsigned)kind < ERR_KIND_COUNT ? kind_names[kind] : kind_names[ERR_BUG];
}

static enum err_kind kind_of_errno(int code)
{
	switch (code) {
	case EPERM:
	case EACCES:
	case EROFS:
		return ERR_DENIED;
	case ENOENT:
	case ENOTDIR:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case ENOSYS:
	case EOPNOTSUPP:
		return ERR_UNSUPPORTED;
	case EMFILE:
	case ENFILE:
	case ENOSPC:
	case EDQUOT:
	case EAGAIN:
	case EUSERS:
		return ERR_LIMIT;
	case EBUSY:
		return ERR_BUSY;
	default:
		return ERR_SYSTEM;
	}
}

/* A message that does not fit is cut, which vsnprintf does; a format that fails leaves the text empty. */
static void put(char *to, size_t size, const char *fmt, va_list ap)
{
	if (vsnprintf(to, size, fmt, ap) < 0)
		to[0] = '\0';
}

int err_set(struct err *e, enum err_kind kind, int code, const char *fmt, ...)
{
	if (e->kind == ERR_NONE) {
		va_list ap;

		e->kind = kind;
		e->code = code;
		va_start(ap, fmt);
		put(e->msg, sizeof e->msg, fmt, ap);
		va_end(ap);
	}
	return code > 0 ? -code : -EINVAL;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
	/* The least int has no negative; it is no errno either, as it may come in a message from outside. */
	code = code == INT_MIN ? EPROTO : code < 0 ? -code : code;
	if (e->kind == ERR_NONE) {
		va_list ap;
		size_t n;

		e->kind = kind_of_errno(code);
		e->code = code;
		va_start(ap, fmt);
		put(e->msg, sizeof e->msg, fmt, ap);
		va_end(ap);
		n = strlen(e->msg);
		/* strerrordesc_np is async-signal-safe and without locale: it works after clone3 as well. */
		const char *why = strerrordesc_np(code);
		(void)snprintf(e->msg + n, sizeof e->msg - n, ": %s", why ? why : "unknown error");
	}
	return code > 0 ? -code : -EINVAL;
}

int err_oom(struct err *e)
{
	return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
}

int err_ctx(struct err *e, int r, const char *fmt, ...)
{
	char old[sizeof e->msg];
	va_list ap;
	size_t n;

	memcpy(old, e->msg, sizeof old);
	va_start(ap, fmt);
	put(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	(void)snprintf(e->msg + n, sizeof e->msg - n, ": %s", old);
	return r;
}

int err_where(struct err *e, int r, const char *fmt, ...)
{
	if (e->where[0] == '\0') {
		va_list ap;

		va_start(ap, fmt);
		put(e->where, sizeof e->where, fmt, ap);
		va_end(ap);
	}
	return r;
}

int err_hint(struct err *e, int r, const char *fmt, ...)
{
	if (e->hint[0] == '\0') {
		va_list ap;

		va_start(ap, fmt);
		put(e->hint, sizeof e->hint, fmt, ap);
		va_end(ap);
	}
	return r;
}

int err_adopt(struct err *e, const struct err *foreign)
{
	struct err copy = *foreign;

	copy.stage[sizeof copy.stage - 1] = '\0';
	copy.where[sizeof copy.where - 1] = '\0';
	copy.msg[sizeof copy.msg - 1] = '\0';
	copy.hint[sizeof copy.hint - 1] = '\0';
	if ((unsigned)copy.kind >= ERR_KIND_COUNT || copy.kind == ERR_NONE)
		copy.kind = ERR_BUG;
	if (copy.code < 0 || copy.code > 4095)
		copy.code = EPROTO;
	if (e->kind == ERR_NONE)
		*e = copy;
	return copy.code > 0 ? -copy.code : -EINVAL;
}
