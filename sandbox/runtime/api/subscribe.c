/* Subscriptions to telemetry: what they may ask for, and the places to which it is brought. */
#include "runtime/api/telemetry.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static unsigned type_of(const char *word)
{
	return strcmp(word, "platform") == 0    ? TELEMETRY_PLATFORM
	       : strcmp(word, "function") == 0  ? TELEMETRY_FUNCTION
	       : strcmp(word, "extension") == 0 ? TELEMETRY_EXTENSION
						: 0;
}

static const char *take_types(struct json_view whole, struct subscription *s)
{
	struct json_view list, v;
	char word[32];

	if (!json_get(whole, "types", &list) || *list.at != '[')
		return "types: an array is expected";
	for (size_t i = 0; json_element(list, i, &v); i++) {
		const unsigned type = json_text(v, word, sizeof word) ? type_of(word) : 0;

		if (!type)
			return "types: platform, function and extension are known";
		s->types |= type;
	}
	return s->types ? NULL : "types: at least one is expected";
}

static const char *take_range(struct json_view buffering, const char *key, int64_t min, int64_t max, int64_t *ret)
{
	struct json_view v;

	if (!json_get(buffering, key, &v))
		return NULL;
	return json_integer(v, ret) && *ret >= min && *ret <= max ? NULL : "buffering: a number is out of its range";
}

static const char *take_buffering(struct json_view whole, struct subscription *s)
{
	struct json_view b;
	const char *why;

	s->max_items = 10000;
	s->max_bytes = 262144;
	s->timeout_ms = 1000;
	if (!json_get(whole, "buffering", &b))
		return NULL;
	why = take_range(b, "maxItems", 1000, 10000, &s->max_items);
	if (!why)
		why = take_range(b, "maxBytes", 262144, 1048576, &s->max_bytes);
	return why ? why : take_range(b, "timeoutMs", 25, 30000, &s->timeout_ms);
}

/* "http://sandbox.localdomain:8080/path" */
static const char *take_uri(const char *uri, struct subscription *s)
{
	static const char *const hosts[] = {"http://sandbox.localdomain:", "http://sandbox:"};
	const char *p = NULL, *end;
	uint64_t port = 0;

	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
		if (strncmp(uri, hosts[i], strlen(hosts[i])) == 0)
			p = uri + strlen(hosts[i]);
	if (!p)
		return "destination: http://sandbox.localdomain:PORT is expected";
	end = p + parse_digits(p, 10, 65535, &port);
	s->port = (unsigned)port;
	if (port == 0 || (*end && *end != '/') || strlen(end) >= sizeof s->path || strpbrk(end, " \r\n"))
		return "destination: the URI has no port, or a path that cannot be used";
	(void)snprintf(s->path, sizeof s->path, "%s", *end ? end : "/");
	return NULL;
}

static const char *take_destination(struct json_view whole, struct subscription *s)
{
	struct json_view d, v;
	char word[512] = "";
	int64_t port;

	if (!json_get(whole, "destination", &d) || !json_get(d, "protocol", &v) || !json_text(v, word, sizeof word))
		return "destination: a protocol is expected";
	if (strcasecmp(word, "TCP") == 0) {
		s->tcp = true;
		if (!json_get(d, "port", &v) || !json_integer(v, &port) || port < 1 || port > 65535)
			return "destination: a port is expected";
		s->port = (unsigned)port;
		return NULL;
	}
	if (strcasecmp(word, "HTTP") != 0)
		return "destination: the protocol is HTTP or TCP";
	s->post = true;
	if (json_get(d, "method", &v) && json_text(v, word, sizeof word))
		s->post = strcasecmp(word, "PUT") != 0;
	if (!json_get(d, "URI", &v) || !json_text(v, word, sizeof word))
		return "destination: a URI is expected";
	return take_uri(word, s);
}

static const char *take_schema(struct json_view whole, const struct subscription *s)
{
	static const char *const known[] = {"2021-03-18", "2022-07-01", "2022-12-13", "2025-01-29"};
	struct json_view v;
	char word[32] = "";

	if (!json_get(whole, "schemaVersion", &v))
		return s->logs_api ? NULL : "schemaVersion is missing";
	for (size_t i = 0; json_text(v, word, sizeof word) && i < sizeof known / sizeof known[0]; i++)
		if (strcmp(word, known[i]) == 0)
			return NULL;
	return "schemaVersion: not a known one";
}

/* What the init has told so far, which on Lambda comes to subscribers too. */
static void take_early(struct api *a, struct subscription *s)
{
	const struct telemetry *t = a->telemetry;

	if (!(s->types & TELEMETRY_PLATFORM) || t->early_items == 0)
		return;
	bytes_add(&s->queue, t->early.data, t->early.len);
	s->items = t->early_items;
	s->since_ns = now_ns();
}

static void tell_subscribed(struct api *a, const struct subscription *s)
{
	static const char *const words[] = {"platform", "function", "extension"};
	struct bytes b = {0}, list = {0};

	json_quote(&b, s->name, strlen(s->name));
	for (unsigned i = 0; i < 3; i++)
		if (s->types & 1U << i)
			bytes_printf(&list, "%s\"%s\"", list.len > 0 ? "," : "", words[i]);
	if (!b.failed && !list.failed)
		telemetry_platform(a, s->logs_api ? "logsSubscription" : "telemetrySubscription",
				   "{\"name\":%s,\"state\":\"Subscribed\",\"types\":[%s]}", b.data, list.data);
	bytes_free(&b);
	bytes_free(&list);
}

void route_telemetry(struct api *a, struct conn *c)
{
	struct extension *x = extension_of(a, c);
	struct subscription s = {.used = true, .logs_api = strstr(c->request.path, "/logs") != NULL, .fd = -1};
	struct subscription *slot;
	struct json_view whole;
	const char *why;

	if (!x)
		return;
	if (a->ready) {
		conn_error(a, c, 403, s.logs_api ? "Logs.SubscriptionClosed" : "Telemetry.SubscriptionClosed",
			   "subscriptions are taken until init is over");
		return;
	}
	if (c->too_large || !json_whole(c->body.data ? c->body.data : "", c->body.len, &whole) || *whole.at != '{')
		why = "the body is not a JSON object";
	else if (!(why = take_schema(whole, &s)) && !(why = take_types(whole, &s)) &&
		 !(why = take_buffering(whole, &s)))
		why = take_destination(whole, &s);
	if (why) {
		conn_error(a, c, 400, "ValidationError", "%s", why);
		return;
	}
	slot = &telemetry_get(a)->subs[x - a->extensions]; /* a later one takes the place of an earlier one */
	deliver_cancel(slot);
	bytes_free(&slot->queue);
	(void)snprintf(s.name, sizeof s.name, "%s", x->name);
	*slot = s;
	take_early(a, slot);
	conn_answer(a, c, 200, "", "text/plain", "OK", 2);
	tell_subscribed(a, slot);
}
