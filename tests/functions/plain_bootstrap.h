/* A custom runtime of a few lines, for tests and the benchmark: a static program that asks the Runtime API on one
 * connection and answers with the event, or with its last argument. Built by whoever needs it:
 *
 *     cc -O2 -static -include tests/functions/plain_bootstrap.h -x c /dev/null -o bootstrap
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static char in[8 << 20], head[4096];
static int api;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static long number(const char *s)
{
	long n = 0;

	return sscanf(s, "%ld", &n) == 1 ? n : 0;
}

/* Reads one answer; its body is at the returned place, *ret_len long. */
static char *answer(size_t *ret_len)
{
	size_t have = 0, want = 0;
	char *body = NULL, *field;

	while (!body || have < want) {
		ssize_t n = read(api, in + have, sizeof in - 1 - have);

		if (n <= 0)
			fail("reading an answer");
		have += (size_t)n;
		in[have] = '\0';
		if (body || !(body = strstr(in, "\r\n\r\n")))
			continue;
		body += 4;
		field = strcasestr(in, "content-length:");
		*ret_len = field && field < body ? (size_t)number(field + 15) : 0;
		want = (size_t)(body - in) + *ret_len;
	}
	return body;
}

static void ask(const char *text, size_t len, const char *more, size_t more_len)
{
	if (send(api, text, len, more_len ? MSG_MORE : 0) != (ssize_t)len)
		fail("asking");
	while (more_len > 0) {
		ssize_t n = write(api, more, more_len);

		if (n <= 0)
			fail("asking");
		more += n;
		more_len -= (size_t)n;
	}
}

int main(int argc, char **argv)
{
	static const char next[] = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
	struct sockaddr_in to = {.sin_family = AF_INET};
	const char *where = getenv("AWS_LAMBDA_RUNTIME_API");
	char id[64], *body, *field;
	const int one = 1;
	size_t len, ignored;

	if (!where || strncmp(where, "127.0.0.1:", 10) != 0)
		return 2;
	to.sin_port = htons((uint16_t)number(where + 10));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	api = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(api, (struct sockaddr *)&to, sizeof to) < 0)
		fail("connecting");
	(void)setsockopt(api, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	for (;;) {
		ask(next, sizeof next - 1, NULL, 0);
		body = answer(&len);
		field = strcasestr(in, "lambda-runtime-aws-request-id:");
		if (!field || sscanf(field + 30, " %63[^\r\n]", id) != 1)
			return 3;
		if (argc > 1) {
			len = strlen(argv[argc - 1]);
			body = argv[argc - 1];
		}
		ask(head,
		    (size_t)snprintf(head, sizeof head,
				     "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\n"
				     "Content-Length: %zu\r\n\r\n",
				     id, len),
		    body, len);
		(void)answer(&ignored);
	}
}
