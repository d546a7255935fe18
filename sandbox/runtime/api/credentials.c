/* Credentials for programs that are not to have them in their environment, because that would be in an image: they ask,
 * and so get those of the clone that they are in. Every AWS SDK does that when it finds the variables of
 * credentials_offer(). */
#include "runtime/api/api.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_VALUE = 8192 }; /* a session token is the longest of them */

/* The keys have names of --secret, too: what stands there was not in any environment. */
struct value {
	const char *variable, *file;
};
static const struct value key_id = {"AWS_ACCESS_KEY_ID", "/run/secrets/aws_access_key_id"};
static const struct value secret = {"AWS_SECRET_ACCESS_KEY", "/run/secrets/aws_secret_access_key"};
static const struct value session = {"AWS_SESSION_TOKEN", "/run/secrets/aws_session_token"};
static const struct value expiration = {"AWS_CREDENTIAL_EXPIRATION", "/run/secrets/aws_credential_expiration"};

/* The first line of the file, else the variable. False when there is neither. */
static bool read_value(const struct value *v, char buf[MAX_VALUE])
{
	const int fd = open(v->file, O_RDONLY | O_CLOEXEC);
	const char *text;
	ssize_t n = 0;

	if (fd >= 0) {
		n = read(fd, buf, MAX_VALUE - 1);
		(void)close(fd);
	}
	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\r\n")] = '\0';
	if (buf[0])
		return true;
	text = secure_getenv(v->variable);
	if (!text || !*text || strlen(text) >= MAX_VALUE)
		return false;
	(void)snprintf(buf, MAX_VALUE, "%s", text);
	return true;
}

void credentials_offer(struct api *a)
{
	/* The host keeps keys out of a cell that is dumped, and says that there are some; they come with the restore. */
	const bool told = secure_getenv("_FSBOX_CREDENTIALS") != NULL;
	char uri[80];

	make_uuid(a->token);
	(void)unsetenv("_FSBOX_CREDENTIALS");
	/* Secrets are not there yet in such a cell, but may be in its clones. */
	if (!told && !a->snap_start && access(key_id.file, R_OK) < 0)
		return;
	if (secure_getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") ||
	    secure_getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) /* the user's own */
		return;
	(void)snprintf(uri, sizeof uri, "http://127.0.0.1:%u/2021-04-23/credentials", a->port);
	(void)setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri, 1);
	(void)setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", a->token, 1);
}

static void put_member(struct bytes *b, const char *name, const char *text)
{
	bytes_printf(b, "%s\"%s\":", b->len > 1 ? "," : "", name);
	json_quote(b, text, strlen(text));
}

void route_credentials(struct api *a, struct conn *c)
{
	const char *token = http_field(&c->request, "Authorization");
	char id[MAX_VALUE], text[MAX_VALUE];
	struct bytes b = {0};

	if (!token || strcmp(token, a->token) != 0 || !read_value(&key_id, id)) {
		conn_error(a, c, 404, "NotFound", "no credentials for this token");
		return;
	}
	bytes_puts(&b, "{");
	put_member(&b, "AccessKeyId", id);
	put_member(&b, "SecretAccessKey", read_value(&secret, text) ? text : "");
	put_member(&b, "Token", read_value(&session, text) ? text : "");
	put_member(&b, "Expiration", read_value(&expiration, text) ? text : "9999-12-31T23:59:59Z");
	bytes_puts(&b, "}");
	conn_json(a, c, 200, b.failed ? "{}" : b.data);
	bytes_free(&b);
}
