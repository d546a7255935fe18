/* What fsboxd says went wrong, as struct err: a kind's name is the same word on the wire. */
#include "cli/client.h"

#include <stdio.h>

typedef int fill(const struct json *p, struct err *e);

static const char *or_unknown(const char *text)
{
	return text && *text ? text : "?";
}

static long long number(const struct json *p, const char *key)
{
	int64_t v = 0;

	return client_int(p, key, &v) ? (long long)v : 0;
}

static int not_found(const struct json *p, struct err *e)
{
	const char *what = client_text(p, "what");

	return err_set(e, ERR_NOT_FOUND, ENOENT, "there is no %s '%s'", what && *what ? what : "such thing as",
		       or_unknown(client_text(p, "id")));
}

static int exists(const struct json *p, struct err *e)
{
	const char *id = or_unknown(client_text(p, "id"));

	if (client_bool(p, "sameSpec"))
		return err_set(e, ERR_EXISTS, EEXIST, "'%s' is there already, and is the same", id);
	return err_hint(e, err_set(e, ERR_EXISTS, EEXIST, "'%s' is there already, and is another one", id),
			"choose another name, or replace it: fsbox deploy --replace");
}

static int invalid_spec(const struct json *p, struct err *e)
{
	const char *field = client_text(p, "field"), *reason = client_text(p, "reason"), *hint = client_text(p, "hint");
	int r = err_set(e, ERR_SPEC, EINVAL, "%s", reason && *reason ? reason : "fsboxd does not take this");

	if (field && *field)
		(void)err_where(e, r, "%s", field);
	return hint && *hint ? err_hint(e, r, "%s", hint) : r;
}

static int denied(const struct json *p, struct err *e)
{
	const char *reason = client_text(p, "reason"), *rule = client_text(p, "rule");

	reason = reason && *reason ? reason : "fsboxd refuses this";
	return rule && *rule ? err_set(e, ERR_DENIED, EACCES, "%s (rule '%s')", reason, rule)
			     : err_set(e, ERR_DENIED, EACCES, "%s", reason);
}

static int busy(const struct json *p, struct err *e)
{
	int r = err_set(e, ERR_BUSY, EBUSY, "busy: %lld calls are waiting already", number(p, "queueDepth"));

	return err_hint(e, r, "try again in %lld ms", number(p, "retryAfterMs"));
}

static int capacity(const struct json *p, struct err *e)
{
	return err_set(e, ERR_CAPACITY, EAGAIN, "not enough %s: %lld wanted, %lld free",
		       or_unknown(client_text(p, "resource")), number(p, "wanted"), number(p, "free"));
}

static int too_large(const struct json *p, struct err *e)
{
	return err_set(e, ERR_LIMIT, EMSGSIZE, "fsboxd takes messages of up to %lld bytes, and this one is longer",
		       number(p, "maxBytes"));
}

static int deadline(const struct json *p, struct err *e)
{
	return err_set(e, ERR_DEADLINE, ETIMEDOUT, "the deadline has passed in the phase '%s', after %lld ms",
		       or_unknown(client_text(p, "phase")), number(p, "ranMs"));
}

static int unsupported(const struct json *p, struct err *e)
{
	const char *reason = client_text(p, "reason");

	return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "%s is not supported%s%s", or_unknown(client_text(p, "feature")),
		       reason && *reason ? ": " : "", reason ? reason : "");
}

static int cancelled(const struct json *p, struct err *e)
{
	(void)p;
	return err_set(e, ERR_CANCELLED, ECANCELED, "the call was cancelled");
}

static int lost(const struct json *p, struct err *e)
{
	int r = err_set(e, ERR_LOST, ENODATA, "what was asked for is not kept any more");

	return err_hint(e, r, "the first that is there: --since %lld", number(p, "firstAvailable"));
}

static int slow_consumer(const struct json *p, struct err *e)
{
	int r = err_set(e, ERR_SLOW_CONSUMER, ENOBUFS, "fsboxd ended the stream, because it was read too slowly");

	return err_hint(e, r, "go on with --since %lld", number(p, "cursor"));
}

static int system_failure(const struct json *p, struct err *e)
{
	const char *stage = client_text(p, "stage"), *reason = client_text(p, "reason"), *hint = client_text(p, "hint");
	bool first = e->kind == ERR_NONE;
	int r = err_set(e, ERR_SYSTEM, EIO, "%s", reason && *reason ? reason : "fsboxd or its host failed");

	if (first)
		(void)snprintf(e->stage, sizeof e->stage, "%s", stage ? stage : "");
	return hint && *hint ? err_hint(e, r, "%s", hint) : r;
}

static int internal(const struct json *p, struct err *e)
{
	return err_set(e, ERR_BUG, EPROTO, "fsboxd met a fault of its own: incident %s",
		       or_unknown(client_text(p, "incident")));
}

/* ---- Varlink's own ---- */

static int no_interface(const struct json *p, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, EPROTONOSUPPORT, "what listens there does not know %s: it is no fsboxd",
		       or_unknown(client_text(p, "interface")));
}

static int no_method(const struct json *p, struct err *e)
{
	return err_hint(e,
			err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "this fsboxd does not have the method %s",
				or_unknown(client_text(p, "method"))),
			"fsbox and fsboxd should be of one version; fsbox is %s", FSBOX_VERSION);
}

static int parameter(const struct json *p, struct err *e)
{
	const char *name = or_unknown(client_text(p, "parameter"));

	return err_where(e, err_set(e, ERR_SPEC, EINVAL, "fsboxd does not take this parameter"), "%s", name);
}

static int permission(const struct json *p, struct err *e)
{
	(void)p;
	return err_set(e, ERR_DENIED, EACCES, "fsboxd does not permit this");
}

static int expected_more(const struct json *p, struct err *e)
{
	(void)p;
	return err_set(e, ERR_BUG, EPROTO, "fsboxd expects to be asked for more than one answer");
}

static const struct {
	const char *name;
	fill *fill;
} errors[] = {
	{"org.fsbox.Sandbox.NotFound", not_found},
	{"org.fsbox.Sandbox.AlreadyExists", exists},
	{"org.fsbox.Sandbox.InvalidSpec", invalid_spec},
	{"org.fsbox.Sandbox.Denied", denied},
	{"org.fsbox.Sandbox.Busy", busy},
	{"org.fsbox.Sandbox.CapacityExhausted", capacity},
	{"org.fsbox.Sandbox.TooLarge", too_large},
	{"org.fsbox.Sandbox.DeadlineExceeded", deadline},
	{"org.fsbox.Sandbox.Unsupported", unsupported},
	{"org.fsbox.Sandbox.Cancelled", cancelled},
	{"org.fsbox.Sandbox.Lost", lost},
	{"org.fsbox.Sandbox.SlowConsumer", slow_consumer},
	{"org.fsbox.Sandbox.SystemFailure", system_failure},
	{"org.fsbox.Sandbox.InternalError", internal},
	{"org.varlink.service.InterfaceNotFound", no_interface},
	{"org.varlink.service.MethodNotFound", no_method},
	{"org.varlink.service.MethodNotImplemented", no_method},
	{"org.varlink.service.InvalidParameter", parameter},
	{"org.varlink.service.PermissionDenied", permission},
	{"org.varlink.service.ExpectedMore", expected_more},
};

int client_error(const char *name, const struct json *params, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].fill(params, e);
	return err_hint(e, err_set(e, ERR_SYSTEM, EPROTO, "fsboxd answered with an error unknown here: %s", name),
			"fsbox and fsboxd should be of one version; fsbox is %s", FSBOX_VERSION);
}
